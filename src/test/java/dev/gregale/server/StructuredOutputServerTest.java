package dev.gregale.server;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.networknt.schema.SchemaRegistry;
import com.networknt.schema.SpecificationVersion;
import java.net.http.HttpResponse;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.CompletableFuture;
import org.junit.jupiter.api.Test;
import tools.jackson.databind.JsonNode;

/** Answers of the bundled model, which was trained on no JSON, as JSON of a schema. */
class StructuredOutputServerTest extends RunningServer {
  private static final String COMPLETIONS = "/v1/completions";
  private static final String CHAT = "/v1/chat/completions";
  private static final String SCHEMA =
      """
      {"type": "object", "additionalProperties": false,
       "required": ["hero", "age", "gifts", "mood"],
       "properties": {
         "hero": {"type": "string", "minLength": 1, "maxLength": 20},
         "age": {"type": "integer"},
         "gifts": {"type": "array", "minItems": 1, "maxItems": 3,
                   "items": {"type": "string", "maxLength": 12}},
         "mood": {"enum": ["merry", "sad"]}}}""";

  private Map<String, Object> completion(int maxTokens) {
    Map<String, Object> request = new HashMap<>();
    request.put("model", MODEL);
    request.put("prompt", "Once upon a time there was a king, as");
    request.put("max_tokens", maxTokens);
    request.put("response_format", schemaFormat());
    return request;
  }

  private static Map<String, Object> schemaFormat() {
    return Map.of(
        "type",
        "json_schema",
        "json_schema",
        Map.of("name", "tale", "strict", true, "schema", JSON.readTree(SCHEMA)));
  }

  private static void assertOfSchema(String text) {
    var schema = SchemaRegistry.withDefaultDialect(SpecificationVersion.DRAFT_2020_12);
    JsonNode document = JSON.readTree(text);
    assertEquals(List.of(), schema.getSchema(SCHEMA).validate(document), text);
  }

  @Test
  void everyAnswerIsOfTheSchema() {
    for (double temperature : new double[] {0, 1, 2}) {
      Map<String, Object> request = completion(400);
      request.put("temperature", temperature);
      request.put("seed", 1);
      request.put("n", 4);
      JsonNode answer = accepted(request, COMPLETIONS);
      for (JsonNode choice : answer.get("choices")) {
        assertEquals("stop", choice.get("finish_reason").asString(), choice.toString());
        assertOfSchema(choice.get("text").asString());
      }
    }
  }

  @Test
  void chatAnswersAnyObject() {
    Map<String, Object> request = new HashMap<>();
    request.put("model", MODEL);
    request.put("messages", List.of(Map.of("role", "user", "content", "Tell me of the king.")));
    request.put("max_completion_tokens", 300);
    request.put("seed", 3);
    // The model would go on for ever, so it is helped to an end.
    request.put("logit_bias", Map.of(tokenId("\""), 8, tokenId("}"), 8));
    request.put("response_format", Map.of("type", "json_object"));
    JsonNode choice = accepted(request, CHAT).at("/choices/0");
    String text = choice.at("/message/content").asString();
    assertEquals("stop", choice.get("finish_reason").asString(), text);
    assertTrue(JSON.readTree(text).isObject(), text);
  }

  @Test
  void whatIsCutOffIsTheBeginning() {
    Map<String, Object> request = completion(400);
    request.put("temperature", 0);
    String whole = accepted(request, COMPLETIONS).at("/choices/0/text").asString();
    for (int maxTokens : new int[] {1, 5, 9}) {
      request.put("max_tokens", maxTokens);
      JsonNode choice = accepted(request, COMPLETIONS).at("/choices/0");
      assertEquals("length", choice.get("finish_reason").asString());
      assertTrue(whole.startsWith(choice.get("text").asString()), whole);
    }
    request.put("max_tokens", 400);
    request.put("stop", List.of("\"age\""));
    JsonNode stopped = accepted(request, COMPLETIONS).at("/choices/0");
    assertEquals("stop", stopped.get("finish_reason").asString());
    assertEquals(whole.substring(0, whole.indexOf("\"age\"")), stopped.get("text").asString());
  }

  @Test
  void aStreamSaysTheSame() {
    Map<String, Object> request = completion(400);
    request.put("temperature", 0);
    String whole = accepted(request, COMPLETIONS).at("/choices/0/text").asString();
    request.put("stream", true);
    StringBuilder text = new StringBuilder();
    for (String frame : send(request, COMPLETIONS).join().body().strip().split("\n\n")) {
      if (!frame.endsWith("[DONE]")) {
        text.append(JSON.readTree(frame.substring(6)).at("/choices/0/text").asString());
      }
    }
    assertEquals(whole, text.toString());
  }

  /** Log-probabilities are the model's own, to whom JSON is unlikely. */
  @Test
  void logprobsAreOfTheModelItself() {
    Map<String, Object> request = completion(400);
    request.put("temperature", 0);
    request.put("logprobs", 1);
    JsonNode logprobs = accepted(request, COMPLETIONS).at("/choices/0/logprobs");
    int unlikely = 0;
    for (int i = 0; i < logprobs.get("tokens").size(); i++) {
      double own = logprobs.get("token_logprobs").get(i).asDouble();
      for (JsonNode top : logprobs.get("top_logprobs").get(i)) {
        assertTrue(top.asDouble() >= own);
        unlikely += top.asDouble() > own ? 1 : 0;
      }
    }
    assertTrue(unlikely > 5, "masked logits would make each token the likeliest");
  }

  /** Others in the batch draw what they draw alone. */
  @Test
  void othersAreLeftAlone() {
    Map<String, Object> plain = completion(60);
    plain.remove("response_format");
    plain.put("seed", 5);
    String alone = accepted(plain, COMPLETIONS).at("/choices/0/text").asString();
    assertFalse(alone.startsWith("{"));
    List<CompletableFuture<HttpResponse<String>>> answers = new ArrayList<>();
    for (int i = 0; i < 8; i++) {
      Map<String, Object> request = i % 2 == 0 ? completion(200) : new HashMap<>(plain);
      answers.add(send(request, COMPLETIONS));
    }
    for (int i = 0; i < answers.size(); i++) {
      JsonNode choice = JSON.readTree(answers.get(i).join().body()).at("/choices/0");
      String text = choice.get("text").asString();
      if (i % 2 == 1) {
        assertEquals(alone, text);
      } else if (choice.get("finish_reason").asString().equals("stop")) {
        assertOfSchema(text);
      }
    }
  }
}
