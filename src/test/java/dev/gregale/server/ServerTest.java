package dev.gregale.server;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNotEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.net.http.HttpClient;
import java.net.http.HttpResponse;
import java.nio.file.Files;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Collections;
import java.util.HashMap;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.concurrent.CompletableFuture;
import org.awaitility.Awaitility;
import org.junit.jupiter.api.Test;
import tools.jackson.databind.JsonNode;

/** Text completion by the bundled model. */
class ServerTest extends RunningServer {

  /** Greedy texts are Hugging Face's, as far as its choice was clear: a margin of 1e-3. */
  @Test
  void greedyTokensAreHuggingFaces() throws Exception {
    JsonNode golden = JSON.readTree(Files.readString(golden("greedy/greedy.json")));
    for (JsonNode prompt : golden) {
      int clear = 0;
      while (clear < 64 && prompt.at("/steps/" + clear + "/margin").asDouble() >= 1e-3) {
        clear++;
      }
      List<Integer> expected = ints(prompt.get("tokens_ignore_eos")).subList(0, clear);
      Map<String, Object> request = request(ints(prompt.get("ids")), clear);
      request.put("ignore_eos", true);
      request.put("skip_special_tokens", false);
      request.put("logprobs", 0);
      JsonNode choice = completion(request).at("/choices/0");
      assertEquals(expected.size(), choice.at("/logprobs/tokens").size());
      assertLogprobs(prompt, choice, clear);
      if (clear == 64) {
        assertEquals(
            prompt.get("completion_ignore_eos").asString(),
            choice.get("text").asString().stripLeading());
      }
    }
  }

  private static void assertLogprobs(JsonNode prompt, JsonNode choice, int clear) {
    for (int i = 0; i < clear; i++) {
      double expected = prompt.at("/steps/" + i + "/top5/0/1").asDouble();
      double found = choice.at("/logprobs/token_logprobs/" + i).asDouble();
      assertEquals(expected, found, 2e-4, prompt.get("text") + " token " + i);
    }
  }

  /** With the model's own end of sequence, and over many more tokens. */
  @Test
  void greedyTextsEndWhereHuggingFacesDo() throws Exception {
    JsonNode golden = JSON.readTree(Files.readString(golden("greedy/until_eos.json")));
    for (JsonNode prompt : golden) {
      assertTrue(prompt.get("min_margin").asDouble() > 1e-3, "no choice of this prompt is a tie");
      int tokens = prompt.get("tokens").size();
      JsonNode answer = completion(request(ints(prompt.get("ids")), 400));
      assertEquals(prompt.get("finish").asString(), finish(answer));
      assertEquals(tokens, answer.at("/usage/completion_tokens").asInt());
    }
    JsonNode greedy = JSON.readTree(Files.readString(golden("greedy/greedy.json")));
    for (JsonNode prompt : greedy) {
      if (prompt.get("min_margin").asDouble() > 1e-3) {
        JsonNode answer = completion(request(ints(prompt.get("ids")), 64));
        assertEquals(prompt.get("finish").asString(), finish(answer));
        assertEquals(
            prompt.get("tokens_stop_at_eos").size(), answer.at("/usage/completion_tokens").asInt());
      }
    }
  }

  /**
   * Asked again, a prompt is the same text, of which all full blocks but the last token's count.
   */
  @Test
  void cachedTokensAreTold() throws Exception {
    List<Integer> prompt = new ArrayList<>();
    for (int i = 0; i < 100; i++) {
      prompt.add(300 + 7 * i); // of no other test
    }
    JsonNode first = completion(request(prompt, 8));
    JsonNode again = completion(request(prompt, 8));
    assertEquals(0, first.at("/usage/prompt_tokens_details/cached_tokens").asInt(-1));
    assertEquals(96, again.at("/usage/prompt_tokens_details/cached_tokens").asInt(-1));
    assertEquals(100, again.at("/usage/prompt_tokens").asInt());
    assertEquals(first.at("/choices/0"), again.at("/choices/0"));
  }

  private static String finish(JsonNode answer) {
    return answer.at("/choices/0/finish_reason").asString();
  }

  /** The same seed gives the same text alone and among others; another seed gives another. */
  @Test
  void seedsDecideWhateverElseIsRunning() {
    String alone = text(seeded("Once upon a time", 7));
    List<CompletableFuture<String>> answers = new ArrayList<>();
    for (int i = 0; i < 24; i++) {
      Map<String, Object> request =
          i % 3 == 0 ? seeded("Once upon a time", 7) : seeded("The wolf " + i, i);
      answers.add(send(request, "/v1/completions").thenApply(r -> text(JSON.readTree(r.body()))));
    }
    for (int i = 0; i < answers.size(); i += 3) {
      assertEquals(alone, answers.get(i).join(), "answer " + i);
    }
    assertNotEquals(alone, text(seeded("Once upon a time", 8)));
  }

  private static Map<String, Object> seeded(String prompt, int seed) {
    Map<String, Object> request = new HashMap<>();
    request.put("model", MODEL);
    request.put("prompt", prompt);
    request.put("max_tokens", 40);
    request.put("seed", seed);
    return request;
  }

  /** A newline is a byte token, whose text only the next token makes certain; it stops at once. */
  @Test
  void stopStringsEndTheTextWithTheirToken() {
    Map<String, Object> request = seeded("Once upon a time", 1);
    request.put("temperature", 0);
    request.put("stop", List.of("\n", "never said"));
    JsonNode answer = completion(request);
    assertEquals("stop", finish(answer));
    // The 35th token of golden/greedy's first text is its first newline.
    assertEquals(35, answer.at("/usage/completion_tokens").asInt());
    assertTrue(text(answer).endsWith("he could not find his fortune. And"), text(answer));
    request.put("include_stop_str_in_output", true);
    assertTrue(text(request).endsWith("And\n"));
  }

  /** Greedily this text repeats "had a"; with bigrams banned no pair of tokens stands twice. */
  @Test
  void bansRepeatedNgrams() {
    Map<String, Object> request = seeded("Once upon a time", 1);
    request.put("temperature", 0);
    request.put("logprobs", 0);
    request.put("max_tokens", 60);
    assertTrue(repeatsABigram(completion(request)));
    request.put("no_repeat_ngram_size", 2);
    assertTrue(!repeatsABigram(completion(request)));
  }

  private static boolean repeatsABigram(JsonNode answer) {
    List<String> tokens =
        answer.at("/choices/0/logprobs/tokens").valueStream().map(JsonNode::asString).toList();
    Set<List<String>> seen = new HashSet<>();
    for (int i = 0; i + 1 < tokens.size(); i++) {
      if (!seen.add(tokens.subList(i, i + 2))) {
        return true;
      }
    }
    return false;
  }

  /** Scoring a text through echo gives the log-probabilities of the golden file. */
  @Test
  void echoScoresTexts() throws Exception {
    JsonNode texts = JSON.readTree(Files.readString(golden("logits/long.json")));
    for (JsonNode text : texts) {
      Map<String, Object> request = new HashMap<>();
      request.put("model", MODEL);
      request.put("prompt", text.get("text").asString());
      request.put("max_tokens", 0);
      request.put("echo", true);
      request.put("logprobs", 1);
      JsonNode choice = completion(request).at("/choices/0");
      assertEquals(text.get("text").asString(), choice.get("text").asString());
      JsonNode logprobs = choice.at("/logprobs/token_logprobs");
      assertEquals(text.get("n").asInt(), logprobs.size());
      assertTrue(logprobs.get(0).isNull());
      double total = 0;
      for (int i = 1; i < logprobs.size(); i++) {
        total -= logprobs.get(i).asDouble();
      }
      assertEquals(text.get("loss_fp32").asDouble(), total / (logprobs.size() - 1), 1e-4);
    }
  }

  /** A text streamed in pieces is the text at once; usage comes last. */
  @Test
  void streamsTheSameText() {
    Map<String, Object> request = seeded("Far away", 3);
    String atOnce = text(request);
    request.put("stream", true);
    request.put("stream_options", Map.of("include_usage", true));
    String[] frames = send(request, "/v1/completions").join().body().strip().split("\n\n");
    StringBuilder text = new StringBuilder();
    for (int i = 0; i < frames.length - 2; i++) {
      JsonNode chunk = JSON.readTree(frames[i].substring("data: ".length()));
      assertTrue(chunk.get("usage").isNull());
      text.append(chunk.at("/choices/0/text").asString());
    }
    assertEquals(atOnce, text.toString());
    JsonNode usage = JSON.readTree(frames[frames.length - 2].substring("data: ".length()));
    assertEquals(40, usage.at("/usage/completion_tokens").asInt());
    assertEquals("data: [DONE]", frames[frames.length - 1]);
  }

  /** Clients that go away, streaming or not, give back every block at once. */
  @Test
  void disconnectsFreeEverything() throws Exception {
    for (boolean stream : new boolean[] {true, false}) {
      for (int i = 0; i < 12; i++) {
        Map<String, Object> request = seeded("Long ago " + i, i);
        request.put("max_tokens", 4000);
        request.put("ignore_eos", true);
        request.put("stream", stream);
        HttpClient leaving = HttpClient.newHttpClient();
        leaving.sendAsync(
            post(request, "/v1/completions"), HttpResponse.BodyHandlers.ofInputStream());
        Awaitility.await().until(() -> gauge("gregale.requests.running") > 0);
        leaving.shutdownNow();
      }
      Awaitility.await()
          .atMost(Duration.ofSeconds(5))
          .until(() -> gauge("gregale.requests.running") + gauge("gregale.requests.waiting") == 0);
      Awaitility.await()
          .atMost(Duration.ofSeconds(1))
          .until(() -> gauge("gregale.kv.blocks.free") == gauge("gregale.kv.blocks.total"));
    }
  }

  /** As {@link LoadTest} does with five hundred. */
  @Test
  void streamsCutAtRandomMomentsFreeTheirBlocks() {
    CutStreams.cut(port, 60, 7);
    Awaitility.await()
        .atMost(Duration.ofSeconds(1))
        .pollInterval(Duration.ofMillis(10))
        .until(() -> gauge("gregale.kv.usage") == 0 && gauge("gregale.requests.waiting") == 0);
  }

  /** Of a bad request only its sender hears. */
  @Test
  void badRequestsHarmNobodyElse() {
    CompletableFuture<HttpResponse<String>> good = send(seeded("The king", 1), "/v1/completions");
    for (Object prompt : List.of(List.of(), List.of(5000), List.of(-1), Map.of(), 5)) {
      Map<String, Object> request = seeded("", 1);
      request.put("prompt", prompt);
      HttpResponse<String> answer = send(request, "/v1/completions").join();
      assertEquals(400, answer.statusCode(), answer.body());
      assertEquals("prompt", JSON.readTree(answer.body()).at("/error/param").asString());
    }
    Map<String, Object> tooLong = request(Collections.nCopies(5000, 7), 1);
    assertEquals(400, send(tooLong, "/v1/completions").join().statusCode());
    assertEquals(200, good.join().statusCode());
  }

  private static Map<String, Object> request(List<Integer> prompt, int maxTokens) {
    Map<String, Object> request = new HashMap<>();
    request.put("model", MODEL);
    request.put("prompt", prompt);
    request.put("max_tokens", maxTokens);
    request.put("temperature", 0);
    return request;
  }

  private String text(Map<String, Object> request) {
    return text(completion(request));
  }

  private static String text(JsonNode answer) {
    return answer.at("/choices/0/text").asString();
  }

  private JsonNode completion(Map<String, Object> request) {
    return accepted(request, "/v1/completions");
  }
}
