package dev.gregale.server;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNotEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.gregale.checkpoint.SafetensorsFile;
import dev.gregale.model.Golden;
import java.nio.file.Files;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Comparator;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;
import tools.jackson.databind.JsonNode;

/**
 * Log-likelihoods as lm-evaluation-harness asks for them and reads them ({@code local-completions}
 * with tokenized requests), against Hugging Face's. The harness draws a token that it does not
 * want, for servers that refuse max_tokens 0; this one takes both.
 */
class EvaluationDoorTest extends RunningServer {
  private static final double PER_TOKEN = 2e-4;

  /**
   * A question to the model.
   *
   * @param tokens context and continuation
   * @param context how many of them are context
   */
  private record Item(List<Integer> tokens, int context, double logprob, boolean greedy) {}

  private record Score(double logprob, boolean greedy) {}

  /** Continuations that the model itself would choose, and the same with another last token. */
  @ParameterizedTest
  @ValueSource(ints = {0, 1})
  void greedyContinuationsAreKnown(int maxTokens) throws Exception {
    List<Item> items = new ArrayList<>();
    for (JsonNode golden : JSON.readTree(Files.readString(golden("greedy/greedy.json")))) {
      int length = 0;
      while (length < 24 && golden.at("/steps/" + length + "/margin").asDouble() >= 1e-3) {
        length++;
      }
      assertTrue(length > 1);
      items.add(item(golden, length, 0));
      items.add(item(golden, length, 1));
    }
    check(items, maxTokens);
  }

  /**
   * @param rank of the last token at its place: 0 is the model's own choice
   */
  private static Item item(JsonNode golden, int length, int rank) {
    List<Integer> tokens = new ArrayList<>(ints(golden.get("ids")));
    int context = tokens.size();
    double logprob = 0;
    for (int i = 0; i < length; i++) {
      JsonNode top = golden.at("/steps/" + i + "/top5/" + (i == length - 1 ? rank : 0));
      tokens.add(top.get(0).asInt());
      logprob += top.get(1).asDouble();
    }
    return new Item(tokens, context, logprob, rank == 0);
  }

  /** Every split of the golden prompts, from all of their logits. */
  @ParameterizedTest
  @ValueSource(ints = {0, 1})
  void promptsHaveTheirGoldenLikelihood(int maxTokens) {
    List<Item> items = new ArrayList<>();
    for (int i = 0; i < 8; i++) {
      try (SafetensorsFile file = Golden.open("logits/prompt" + i + ".safetensors")) {
        int[] ids = Golden.ints(file, "input_ids");
        float[] logits = Golden.floats(file, "logits_fp32");
        for (int context = 1; context < ids.length; context += 3) {
          items.add(item(ids, logits, context));
        }
      }
    }
    check(items, maxTokens);
  }

  private static Item item(int[] ids, float[] logits, int context) {
    int vocabSize = logits.length / ids.length;
    double total = 0;
    boolean greedy = true;
    for (int t = context; t < ids.length; t++) {
      float[] row = Arrays.copyOfRange(logits, (t - 1) * vocabSize, t * vocabSize);
      double sum = 0;
      float max = Float.NEGATIVE_INFINITY;
      for (float logit : row) {
        sum += Math.exp(logit);
        max = Math.max(max, logit);
      }
      total += row[ids[t]] - Math.log(sum);
      greedy &= row[ids[t]] == max;
    }
    return new Item(Arrays.stream(ids).boxed().toList(), context, total, greedy);
  }

  /** As loglikelihood_rolling asks: the whole window behind the beginning of sequence. */
  @ParameterizedTest
  @ValueSource(ints = {0, 1})
  void heldOutWindowsHaveTheirGoldenLoss(int maxTokens) throws Exception {
    JsonNode nll =
        JSON.readTree(Files.readString(golden("heldout/loss.json"))).get("fp32_nll_per_window");
    List<Item> items = new ArrayList<>();
    try (SafetensorsFile file = Golden.open("heldout/windows.safetensors")) {
      int[] windows = Golden.ints(file, "windows");
      for (int w = 0; w < 2; w++) {
        List<Integer> ids = Arrays.stream(windows, w * 512, (w + 1) * 512).boxed().toList();
        items.add(new Item(ids, 1, -nll.get(w).asDouble(), false));
      }
    }
    check(items, maxTokens);
  }

  private void check(List<Item> items, int maxTokens) {
    Map<String, Object> request = new HashMap<>();
    request.put("model", MODEL);
    request.put("prompt", items.stream().map(Item::tokens).toList());
    request.put("temperature", 0);
    request.put("max_tokens", maxTokens);
    request.put("logprobs", 1);
    request.put("seed", 1234);
    request.put("echo", true);
    JsonNode answer = accepted(request, "/v1/completions");
    List<Integer> contexts = items.stream().map(Item::context).toList();
    List<Score> scores = read(answer, contexts, maxTokens);
    assertEquals(items.size(), scores.size());
    for (int i = 0; i < items.size(); i++) {
      Item item = items.get(i);
      int scored = item.tokens().size() - item.context();
      assertEquals(item.logprob(), scores.get(i).logprob(), scored * PER_TOKEN, "item " + i);
      assertEquals(item.greedy(), scores.get(i).greedy(), "greedy, item " + i);
    }
    assertNotEquals(0, scores.getFirst().logprob());
  }

  /**
   * What the harness reads: choices by their index; of each the values behind the context, without
   * the drawn token; greedy where every token's value is the highest of its place.
   */
  private static List<Score> read(JsonNode answer, List<Integer> contexts, int drawn) {
    List<JsonNode> choices =
        answer
            .get("choices")
            .valueStream()
            .sorted(Comparator.comparingInt(choice -> choice.get("index").asInt()))
            .toList();
    List<Score> scores = new ArrayList<>();
    for (int c = 0; c < choices.size(); c++) {
      JsonNode logprobs = choices.get(c).get("logprobs");
      JsonNode values = logprobs.get("token_logprobs");
      JsonNode tops = logprobs.get("top_logprobs");
      assertTrue(values.get(0).isNull() && tops.get(0).isNull(), "the first token has no value");
      double total = 0;
      boolean greedy = true;
      for (int t = contexts.get(c); t < values.size() - drawn; t++) {
        double value = values.get(t).asDouble();
        total += value;
        double highest =
            tops.get(t).valueStream().mapToDouble(JsonNode::asDouble).max().orElseThrow();
        greedy &= value == highest;
      }
      scores.add(new Score(total, greedy));
    }
    return scores;
  }
}
