package dev.gregale.model;

import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.gregale.backend.Backend;
import dev.gregale.backend.cuda.CudaBackends;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.SplittableRandom;
import java.util.function.Supplier;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/**
 * The kernels made for Hopper against those for any GPU: the same random weights, shapes that the
 * former take, prefill and decode of every size.
 */
@Tag("gpu")
class CudaFastPathTest {
  private static final String CONFIG =
      """
      {"architectures": ["MixtralForCausalLM"], "model_type": "mixtral", "hidden_act": "silu",
       "hidden_size": 512, "intermediate_size": 448, "num_attention_heads": 8,
       "num_key_value_heads": 2, "head_dim": %d, "num_hidden_layers": 2, "num_local_experts": 8,
       "num_experts_per_tok": 2, "rms_norm_eps": 1e-5, "rope_theta": 1000000.0,
       "max_position_embeddings": 512, "vocab_size": 1024, "sliding_window": null,
       "tie_word_embeddings": false, "torch_dtype": "bfloat16", "bos_token_id": 1,
       "eos_token_id": 2}
      """;

  /**
   * ‖found - expected‖ / ‖expected‖ of a row of logits. About 20 roundings to bf16 in a row on each
   * side, 0.17% (root mean square) each, are 1.1%.
   */
  private static final double RELATIVE = 2e-2;

  /**
   * Rows in which a router's choice was in doubt go to another expert and are as far off as that.
   */
  private static final double ROWS_IN_DOUBT = 0.05;

  @Test
  void headsOf128(@TempDir Path directory) throws Exception {
    compare(directory, 128);
  }

  @Test
  void headsOf64(@TempDir Path directory) throws Exception {
    compare(directory, 64);
  }

  private static void compare(Path directory, int headDim) throws Exception {
    Files.writeString(directory.resolve("config.json"), CONFIG.formatted(headDim));
    List<float[]> expected = run(directory, CudaBackends::general);
    List<float[]> found = run(directory, CudaBackends::fastest);
    for (int step = 0; step < expected.size(); step++) {
      assertClose("head dim " + headDim + ", step " + step, expected.get(step), found.get(step));
    }
  }

  /** Logits of prefills, and of decode steps with 1, 2, 8, 9, 64 and 256 sequences. */
  private static List<float[]> run(Path directory, Supplier<Backend> open) {
    List<float[]> logits = new ArrayList<>();
    try (Backend backend = open.get()) {
      for (int seqs : new int[] {1, 2, 8, 9, 64, 256}) {
        ForwardFixture forward =
            new ForwardFixture(backend, directory, LoadFormat.DUMMY, 2048, 256, 256);
        SplittableRandom random = new SplittableRandom(seqs);
        int[] lengths = random.ints(seqs, 1, 2 + Math.min(200, 1800 / seqs)).toArray();
        logits.add(forward.logits(tokens(random, lengths)));
        int[] ones = new int[seqs];
        Arrays.fill(ones, 1);
        for (int step = 0; step < 2; step++) {
          logits.add(forward.logits(tokens(random, ones), lengths));
          Arrays.setAll(lengths, s -> lengths[s] + 1);
        }
      }
    }
    return logits;
  }

  private static List<int[]> tokens(SplittableRandom random, int[] lengths) {
    return Arrays.stream(lengths).mapToObj(n -> random.ints(n, 0, 1024).toArray()).toList();
  }

  private static void assertClose(String what, float[] expected, float[] found) {
    int rows = expected.length / 1024;
    int far = 0;
    double[] errors = new double[rows];
    for (int row = 0; row < rows; row++) {
      double error = 0;
      double norm = 0;
      for (int i = row * 1024; i < (row + 1) * 1024; i++) {
        double difference = (double) expected[i] - found[i];
        error += difference * difference;
        norm += (double) expected[i] * expected[i];
      }
      errors[row] = Math.sqrt(error / norm);
      far += errors[row] <= RELATIVE ? 0 : 1;
    }
    Arrays.sort(errors);
    System.out.printf(
        "fast path, %s: %d rows, median relative error %.2e, largest %.2e, %d in doubt%n",
        what, rows, errors[rows / 2], errors[rows - 1], far);
    assertTrue(errors[rows / 2] <= RELATIVE, what + ": median " + errors[rows / 2]);
    assertTrue(far <= Math.max(1, ROWS_IN_DOUBT * rows), what + ": " + far + " of " + rows);
  }
}
