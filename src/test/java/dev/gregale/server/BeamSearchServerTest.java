package dev.gregale.server;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.net.http.HttpResponse;
import java.nio.file.Files;
import java.time.Duration;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.CompletableFuture;
import org.awaitility.Awaitility;
import org.junit.jupiter.api.Test;
import tools.jackson.databind.JsonNode;

/** Beam search of the bundled model, against Hugging Face's. */
class BeamSearchServerTest extends RunningServer {
  private static final String COMPLETIONS = "/v1/completions";

  private static Map<String, Object> request(JsonNode prompt, int beams, int maxTokens) {
    Map<String, Object> request = new HashMap<>();
    request.put("model", MODEL);
    request.put("prompt", ints(prompt));
    request.put("max_tokens", maxTokens);
    request.put("use_beam_search", true);
    request.put("n", beams);
    return request;
  }

  @Test
  void beamsAreHuggingFaces() throws Exception {
    JsonNode cases = JSON.readTree(Files.readString(golden("beam/beam.json")));
    for (JsonNode c : cases) {
      int beams = c.get("num_beams").asInt();
      int maxTokens = c.get("max_new_tokens").asInt();
      double penalty = c.get("length_penalty").asDouble();
      Map<String, Object> request = request(c.get("ids"), beams, maxTokens);
      request.put("length_penalty", penalty);
      request.put("logprobs", 0);
      request.put("return_token_ids", true);
      JsonNode answer = accepted(request, COMPLETIONS);
      for (int i = 0; i < beams; i++) {
        JsonNode choice = answer.get("choices").get(i);
        assertEquals(ints(c.get("sequences").get(i)), ints(choice.get("token_ids")), c.toString());
        double sum = 0;
        for (JsonNode logprob : choice.at("/logprobs/token_logprobs")) {
          sum += logprob.asDouble();
        }
        double score = sum / Math.pow(choice.get("token_ids").size(), penalty);
        assertEquals(c.get("sequences_scores").get(i).asDouble(), score, 1e-4);
        assertEquals(
            c.get("texts").get(i).asString(), choice.get("text").asString().stripLeading());
        assertEquals("length", choice.get("finish_reason").asString());
      }
      JsonNode usage = answer.get("usage");
      assertEquals(c.get("ids").size(), usage.get("prompt_tokens").asInt());
      assertEquals(beams * maxTokens, usage.get("completion_tokens").asInt());
    }
    assertEquals(15, cases.size());
  }

  /** best_of is the width; several prompts are searched for side by side; chat has it too. */
  @Test
  void theBestOfMoreBeamsAreReturned() throws Exception {
    JsonNode c = JSON.readTree(Files.readString(golden("beam/beam.json"))).get(3);
    Map<String, Object> request = request(c.get("ids"), 2, 24);
    request.put("best_of", 4);
    request.put("prompt", List.of(ints(c.get("ids")), ints(c.get("ids"))));
    JsonNode choices = accepted(request, COMPLETIONS).get("choices");
    assertEquals(4, choices.size());
    for (int i = 0; i < 4; i++) {
      assertEquals(i, choices.get(i).get("index").asInt());
      assertEquals(
          c.get("texts").get(i % 2).asString(),
          choices.get(i).get("text").asString().stripLeading());
    }
    Map<String, Object> chat = request(c.get("ids"), 3, 8);
    chat.remove("prompt");
    chat.put("messages", List.of(Map.of("role", "user", "content", "Tell me a story.")));
    assertEquals(3, accepted(chat, "/v1/chat/completions").get("choices").size());
  }

  @Test
  void aLeftSearchLeavesNothingBehind() throws Exception {
    JsonNode ids = JSON.readTree("[1,2579,591,261,565]");
    List<CompletableFuture<HttpResponse<String>>> searches = new ArrayList<>();
    for (int i = 0; i < 3; i++) {
      Map<String, Object> request = request(ids, 5, 2000);
      request.put("ignore_eos", true);
      searches.add(send(request, COMPLETIONS));
    }
    double steps = metrics.get("gregale.engine.step.tokens").summary().count();
    Awaitility.await()
        .atMost(Duration.ofSeconds(20))
        .until(() -> metrics.get("gregale.engine.step.tokens").summary().count() > steps + 20);
    searches.forEach(search -> search.cancel(true));
    Awaitility.await()
        .atMost(Duration.ofSeconds(20))
        .untilAsserted(
            () -> {
              assertEquals(0, gauge("gregale.requests.running"));
              assertEquals(0, gauge("gregale.requests.waiting"));
            });
    // As many beams as can run at all find room again.
    assertTrue(accepted(request(ids, 10, 2), COMPLETIONS).get("choices").size() == 10);
  }

  /** The model's end of sequence ends a beam, and is not shown. */
  @Test
  void beamsEndAtTheEndOfSequence() throws Exception {
    JsonNode golden = JSON.readTree(Files.readString(golden("greedy/until_eos.json"))).get(1);
    Map<String, Object> request = request(golden.get("ids"), 1, 400);
    JsonNode choice = accepted(request, COMPLETIONS).at("/choices/0");
    request.remove("use_beam_search");
    request.put("temperature", 0);
    assertEquals(accepted(request, COMPLETIONS).at("/choices/0"), choice, "one beam is greedy");
    assertEquals("stop", choice.get("finish_reason").asString());
  }
}
