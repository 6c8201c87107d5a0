package dev.gregale.model;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.gregale.backend.AttentionShape;
import dev.gregale.backend.Backend;
import dev.gregale.backend.cuda.CudaBackends;
import dev.gregale.checkpoint.ModelDimensions;
import dev.gregale.quantization.Quantization;
import dev.gregale.tensor.DType;
import dev.gregale.tensor.InputScaling.When;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.List;
import java.util.SplittableRandom;
import java.util.function.Supplier;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;

/**
 * Ranks against one GPU: a model of shapes that Hopper's kernels take, in prefill and decode of
 * every size. Where there are too few GPUs, the ranks share the first.
 */
@Tag("gpu")
class CudaParallelModelTest {
  private static final int VOCAB = 1024;
  private static final AttentionShape ATTENTION = new AttentionShape(8, 4, 128, 0);

  /** Two experts, which every token takes both: a choice in doubt would lead rows elsewhere. */
  private static final ModelDimensions DIMENSIONS =
      new ModelDimensions(512, 2, 8, 4, 128, 2, 768, VOCAB, false);

  /** As in CudaFastPathTest: about 20 roundings to bf16 in a row on each side. */
  private static final double RELATIVE = 2e-2;

  @ParameterizedTest
  @CsvSource({
    "2, 1, NONE",
    "2, 2, NONE",
    "4, 2, NONE",
    "2, 1, FP8_BLOCK",
    "2, 2, FP8_BLOCK",
    "2, 2, MXFP8"
  })
  void ranksGiveTheLogitsOfOneGpu(
      int size, int groups, Quantization weights, @TempDir Path directory) throws Exception {
    RandomModel.write(directory, DIMENSIONS);
    List<float[]> expected = run(directory, weights, CudaBackends::fastest);
    List<float[]> found =
        run(directory, weights, () -> CudaBackends.ranks(size, groups, ATTENTION, false));
    List<float[]> again =
        run(directory, weights, () -> CudaBackends.ranks(size, groups, ATTENTION, false));
    for (int step = 0; step < expected.size(); step++) {
      String what = "%d ranks, %d groups, %s, step %d".formatted(size, groups, weights, step);
      assertClose(what, expected.get(step), found.get(step));
      assertArrayEquals(found.get(step), again.get(step), what);
    }
  }

  /** Logits of prefills, and of decode steps with 1, 2, 8, 9, 64 and 130 sequences. */
  private static List<float[]> run(Path directory, Quantization weights, Supplier<Backend> open) {
    Precision precision = new Precision(weights.recipe(), When.NEVER);
    try (Backend backend = open.get()) {
      return RaggedRuns.logits(
          new ForwardFixture(backend, directory, precision, DType.BF16, 1024, 256, 130),
          900,
          1,
          2,
          8,
          9,
          64,
          130);
    }
  }

  private static void assertClose(String what, float[] expected, float[] found) {
    int rows = expected.length / VOCAB;
    double[] errors = new double[rows];
    for (int row = 0; row < rows; row++) {
      double error = 0;
      double norm = 0;
      for (int i = row * VOCAB; i < (row + 1) * VOCAB; i++) {
        double difference = (double) expected[i] - found[i];
        error += difference * difference;
        norm += (double) expected[i] * expected[i];
      }
      errors[row] = Math.sqrt(error / norm);
    }
    Arrays.sort(errors);
    System.out.printf(
        "%s: %d rows, median relative error %.2e, largest %.2e%n",
        what, rows, errors[rows / 2], errors[rows - 1]);
    assertTrue(errors[rows - 1] <= RELATIVE, what + ": " + errors[rows - 1]);
  }

  /** In the deterministic mode a row has the same bits alone, on two ranks too. */
  @ParameterizedTest
  @ValueSource(ints = {1, 2})
  void companyChangesNoBit(int groups, @TempDir Path directory) throws Exception {
    RandomModel.write(directory, DIMENSIONS);
    try (Backend backend = CudaBackends.ranks(2, groups, ATTENTION, /* deterministic= */ true)) {
      ForwardFixture forward =
          new ForwardFixture(backend, directory, LoadFormat.AUTO, 1024, 256, 16);
      SplittableRandom random = new SplittableRandom(5);
      int[] lengths = random.ints(16, 1, 60).toArray();
      List<int[]> sequences = RaggedRuns.tokens(random, lengths, VOCAB);
      float[] together = forward.logits(sequences);
      int at = 0;
      for (int[] sequence : sequences) {
        float[] alone = forward.logits(List.of(sequence));
        assertArrayEquals(alone, Arrays.copyOfRange(together, at, at + alone.length));
        at += alone.length;
      }
    }
  }
}
