package dev.gregale.model;

import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.params.provider.Arguments.arguments;

import dev.gregale.backend.Backend;
import dev.gregale.backend.cuda.CudaBackends;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.List;
import java.util.function.Supplier;
import java.util.stream.Stream;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.Arguments;
import org.junit.jupiter.params.provider.MethodSource;

/**
 * The kernels made for Hopper against those for any GPU: the same random weights, shapes that the
 * former take, prefill and decode of every size.
 */
@Tag("gpu")
class CudaFastPathTest {
  private static final String CONFIG =
      """
      {"architectures": ["MixtralForCausalLM"], "model_type": "mixtral", "hidden_act": "silu",
       "hidden_size": %d, "intermediate_size": %d, "num_attention_heads": %d,
       "num_key_value_heads": %d, "head_dim": %d, "num_hidden_layers": 2, "num_local_experts": %d,
       "num_experts_per_tok": %d, "rms_norm_eps": 1e-5, "rope_theta": 1000000.0,
       "max_position_embeddings": 512, "vocab_size": 1024, "sliding_window": null,
       "tie_word_embeddings": false, "torch_dtype": "bfloat16", "bos_token_id": 1,
       "eos_token_id": 2}
      """;

  /**
   * ‖found - expected‖ / ‖expected‖ of a row of logits. About 20 roundings to bf16 in a row on each
   * side, 0.17% (root mean square) each, are 1.1%.
   */
  private static final double RELATIVE = 2e-2;

  /** Of eight experts a router's choice may be in doubt; its row goes elsewhere then. */
  private static final double ROWS_IN_DOUBT = 0.05;

  @ParameterizedTest(name = "{0}")
  @MethodSource
  void fastAgreesWithGeneral(String what, String config, double inDoubt, @TempDir Path directory)
      throws Exception {
    Files.writeString(directory.resolve("config.json"), config);
    List<float[]> expected = run(directory, CudaBackends::general);
    List<float[]> found = run(directory, CudaBackends::fastest);
    List<float[]> deterministic = run(directory, CudaBackends::deterministic);
    for (int step = 0; step < expected.size(); step++) {
      String at = what + ", step " + step;
      assertClose(at, expected.get(step), found.get(step), inDoubt);
      assertClose(at + ", deterministic", expected.get(step), deterministic.get(step), inDoubt);
    }
  }

  /** Where a token takes all experts every row is to agree: there is nothing to choose. */
  static Stream<Arguments> fastAgreesWithGeneral() {
    return Stream.of(
        arguments("two of two, heads of 128", CONFIG.formatted(512, 448, 8, 2, 128, 2, 2), 0.0),
        arguments("two of two, heads of 64", CONFIG.formatted(512, 448, 8, 2, 64, 2, 2), 0.0),
        arguments("two of two, narrow", CONFIG.formatted(192, 256, 6, 2, 64, 2, 2), 0.0),
        arguments("two of eight", CONFIG.formatted(512, 448, 8, 2, 128, 8, 2), ROWS_IN_DOUBT),
        arguments("8x7B, two of two", CONFIG.formatted(4096, 14336, 32, 8, 128, 2, 2), 0.0),
        arguments("8x7B, all eight", CONFIG.formatted(4096, 14336, 32, 8, 128, 8, 8), 0.0));
  }

  /** Logits of prefills, and of decode steps with 1, 2, 8, 9, 64 and 256 sequences. */
  private static List<float[]> run(Path directory, Supplier<Backend> open) {
    try (Backend backend = open.get()) {
      return RaggedRuns.logits(
          new ForwardFixture(backend, directory, LoadFormat.DUMMY, 2048, 256, 256),
          1800,
          1,
          2,
          8,
          9,
          64,
          256);
    }
  }

  private static void assertClose(String what, float[] expected, float[] found, double inDoubt) {
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
    assertTrue(far <= Math.ceil(inDoubt * rows), what + ": " + far + " of " + rows);
  }
}
