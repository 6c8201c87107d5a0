package dev.gregale.server;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.net.http.HttpResponse;
import java.nio.file.Files;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.Test;
import tools.jackson.databind.JsonNode;

/** Chat with the bundled model, through its own template, and vLLM's extras. */
class ChatServerTest extends RunningServer {
  private static final String CHAT = "/v1/chat/completions";

  /** The prompts are Hugging Face's apply_chat_template, to the token. */
  @Test
  void promptsAreHuggingFaces() throws Exception {
    JsonNode golden = JSON.readTree(Files.readString(golden("chat/cases.json")));
    for (JsonNode c : golden.get("cases")) {
      Map<String, Object> request = chat(c.get("messages"), 1);
      request.put("return_token_ids", true);
      JsonNode answer = accepted(request, CHAT);
      assertEquals(c.get("ids"), answer.get("prompt_token_ids"));
      assertEquals(c.get("ids").size(), answer.at("/usage/prompt_tokens").asInt());
      Map<String, Object> tokenize = new HashMap<>(Map.of("messages", c.get("messages")));
      assertEquals(c.get("ids"), accepted(tokenize, "/tokenize").get("tokens"));
      // A decoder puts a space before what follows a special token, as Hugging Face's does.
      JsonNode text = accepted(Map.of("tokens", c.get("ids")), "/detokenize");
      assertEquals(spaceless(c.get("rendered")), spaceless(text.get("prompt")));
    }
    int refused = 0;
    for (JsonNode c : golden.get("errors")) {
      if (c.has("error")) {
        HttpResponse<String> answer = send(chat(c.get("messages"), 1), CHAT).join();
        assertEquals(400, answer.statusCode());
        JsonNode error = JSON.readTree(answer.body()).get("error");
        assertEquals(c.get("error").asString(), error.get("message").asString());
        assertEquals("messages", error.get("param").asString());
        refused++;
      }
    }
    assertEquals(2, refused);
  }

  private static String spaceless(JsonNode text) {
    return text.asString().replace(" ", "");
  }

  /** A chat is the completion of its prompt: same text, same log-probabilities, same stream. */
  @Test
  void chatCompletesItsPrompt() throws Exception {
    JsonNode golden = JSON.readTree(Files.readString(golden("chat/cases.json"))).get("cases");
    JsonNode c = golden.get(1);
    Map<String, Object> request = chat(c.get("messages"), 24);
    request.put("logprobs", true);
    request.put("top_logprobs", 2);
    JsonNode chat = accepted(request, CHAT).at("/choices/0");
    JsonNode text = accepted(completion(c.get("ids"), 24), "/v1/completions").at("/choices/0");
    assertEquals(text.get("text").asString(), chat.at("/message/content").asString());
    assertEquals(text.get("finish_reason"), chat.get("finish_reason"));
    List<Double> logprobs = new ArrayList<>();
    chat.at("/logprobs/content").forEach(token -> logprobs.add(token.get("logprob").asDouble()));
    List<Double> expected = new ArrayList<>();
    text.at("/logprobs/token_logprobs").forEach(logprob -> expected.add(logprob.asDouble()));
    assertEquals(expected, logprobs);
    request.put("stream", true);
    assertEquals(chat.at("/message/content").asString(), streamed(request));
  }

  private String streamed(Map<String, Object> request) {
    StringBuilder text = new StringBuilder();
    String[] frames = send(request, CHAT).join().body().strip().split("\n\n");
    for (int i = 0; i < frames.length - 1; i++) {
      JsonNode choice = JSON.readTree(frames[i].substring("data: ".length())).at("/choices/0");
      text.append(choice.at("/delta/content").asString(""));
      assertEquals(i == frames.length - 2, choice.get("finish_reason").isString());
    }
    assertEquals("data: [DONE]", frames[frames.length - 1]);
    return text.toString();
  }

  /** Without a limit of its own an answer ends with the model's turn, or with the context. */
  @Test
  void answersEndByThemselves() {
    Map<String, Object> request =
        chat(List.of(Map.of("role", "user", "content", "Tell me a story.")), 1);
    request.remove("max_completion_tokens");
    request.put("stop", List.of("."));
    JsonNode answer = accepted(request, CHAT);
    assertEquals("stop", answer.at("/choices/0/finish_reason").asString());
    assertTrue(answer.at("/usage/completion_tokens").asInt() > 1);
  }

  /** prompt_logprobs are those that echo gives, under the prompt's token ids. */
  @Test
  void promptLogprobsAreEchos() throws Exception {
    JsonNode golden = JSON.readTree(Files.readString(golden("logits/long.json")));
    Map<String, Object> request = new HashMap<>();
    request.put("model", MODEL);
    request.put("prompt", golden.get(0).get("text"));
    request.put("max_tokens", 0);
    request.put("echo", true);
    request.put("logprobs", 1);
    request.put("prompt_logprobs", 3);
    request.put("return_token_ids", true);
    JsonNode choice = accepted(request, "/v1/completions").at("/choices/0");
    JsonNode echo = choice.at("/logprobs/token_logprobs");
    assertEquals(echo.size(), choice.get("prompt_logprobs").size());
    assertTrue(choice.get("prompt_logprobs").get(0).isNull());
    for (int i = 1; i < echo.size(); i++) {
      String id = choice.get("prompt_token_ids").get(i).toString();
      JsonNode place = choice.get("prompt_logprobs").get(i);
      assertEquals(echo.get(i).asDouble(), place.at("/" + id + "/logprob").asDouble());
      assertTrue(place.size() == 3 || place.size() == 4);
      assertEquals(place.size() == 4, place.at("/" + id + "/rank").isNull());
      assertTrue(choice.at("/logprobs/top_logprobs/" + i).size() <= 2);
    }
  }

  /** A text keeps its beginning of sequence, ids keep their last ones. */
  @Test
  void promptsAreTruncatedAtTheirBeginning() {
    JsonNode all = accepted(Map.of("prompt", "Once upon a time there was"), "/tokenize");
    List<Integer> ids = ints(all.get("tokens"));
    Map<String, Object> request = completion(ids, 1);
    request.put("truncate_prompt_tokens", 4);
    request.put("return_token_ids", true);
    JsonNode ofIds = accepted(request, "/v1/completions").at("/choices/0/prompt_token_ids");
    assertEquals(ids.subList(ids.size() - 4, ids.size()), ints(ofIds));
    request.put("prompt", "Once upon a time there was");
    JsonNode ofText = accepted(request, "/v1/completions").at("/choices/0/prompt_token_ids");
    List<Integer> expected = new ArrayList<>(ids.subList(ids.size() - 4, ids.size()));
    expected.set(0, ids.getFirst());
    assertEquals(expected, ints(ofText));
  }

  private static Map<String, Object> chat(Object messages, int maxTokens) {
    Map<String, Object> request = new HashMap<>();
    request.put("model", MODEL);
    request.put("messages", messages);
    request.put("max_completion_tokens", maxTokens);
    request.put("temperature", 0);
    return request;
  }

  private static Map<String, Object> completion(Object prompt, int maxTokens) {
    Map<String, Object> request = new HashMap<>();
    request.put("model", MODEL);
    request.put("prompt", prompt);
    request.put("max_tokens", maxTokens);
    request.put("temperature", 0);
    request.put("logprobs", 0);
    return request;
  }
}
