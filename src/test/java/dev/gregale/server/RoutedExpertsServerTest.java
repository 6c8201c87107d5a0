package dev.gregale.server;

import static org.assertj.core.api.Assertions.assertThat;

import dev.gregale.checkpoint.SafetensorsFile;
import dev.gregale.model.Golden;
import java.util.Arrays;
import java.util.Base64;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.Test;
import tools.jackson.databind.JsonNode;

/** The bundled model's experts, over HTTP. */
class RoutedExpertsServerTest extends RunningServer {
  private static final int LAYERS = 6;
  private static final int EXPERTS = 8;
  private static final int PER_TOKEN = 2;

  private byte[] expertsOf(List<Integer> prompt, int maxTokens) {
    JsonNode answer =
        accepted(
            Map.of(
                "model",
                MODEL,
                "prompt",
                prompt,
                "max_tokens",
                maxTokens,
                "temperature",
                0,
                "ignore_eos",
                true,
                "return_routed_experts",
                true),
            "/v1/completions");
    byte[] file = Base64.getDecoder().decode(answer.at("/choices/0/routed_experts").asString());
    int tokens = prompt.size() + Math.max(0, maxTokens - 1);
    int length = tokens * LAYERS * PER_TOKEN;
    return Arrays.copyOfRange(file, file.length - length, file.length);
  }

  @Test
  void theyAreHuggingFaces() {
    for (String prompt : List.of("hidden/prompt1.safetensors", "hidden/prompt2.safetensors")) {
      try (SafetensorsFile golden = Golden.open(prompt)) {
        List<Integer> ids = Arrays.stream(Golden.ints(golden, "input_ids")).boxed().toList();
        byte[] found = expertsOf(ids, 1);
        for (int layer = 0; layer < LAYERS; layer++) {
          int[] expected = Golden.ints(golden, "layer" + layer + ".expert_ids");
          for (int i = 0; i < expected.length; i++) {
            int at = (i / PER_TOKEN * LAYERS + layer) * PER_TOKEN + i % PER_TOKEN;
            assertThat((int) found[at])
                .as("%s, layer %d, id %d", prompt, layer, i)
                .isEqualTo(expected[i]);
          }
        }
      }
    }
  }

  @Test
  void metricsCountThem() {
    double[][] before = counts();
    byte[] ids = expertsOf(List.of(1, 30, 40, 50, 60), 20);
    double[][] after = counts();
    int[][] expected = new int[LAYERS][EXPERTS];
    for (int i = 0; i < ids.length; i++) {
      expected[i / PER_TOKEN % LAYERS][ids[i]]++;
    }
    for (int layer = 0; layer < LAYERS; layer++) {
      for (int expert = 0; expert < EXPERTS; expert++) {
        assertThat(after[layer][expert] - before[layer][expert])
            .as("layer %d, expert %d", layer, expert)
            .isEqualTo(expected[layer][expert]);
      }
    }
    assertThat(get("/metrics").body())
        .contains("gregale_experts_tokens_total{expert=\"7\",layer=\"5\"}")
        .contains("gregale_experts_imbalance{layer=\"0\"}");
  }

  private double[][] counts() {
    double[][] counts = new double[LAYERS][EXPERTS];
    for (int layer = 0; layer < LAYERS; layer++) {
      for (int expert = 0; expert < EXPERTS; expert++) {
        counts[layer][expert] =
            metrics
                .get("gregale.experts.tokens")
                .tags("layer", "" + layer, "expert", "" + expert)
                .functionCounter()
                .count();
      }
    }
    return counts;
  }
}
