package dev.gregale.model;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.assertj.core.api.Assertions.within;

import dev.gregale.backend.AttentionShape;
import dev.gregale.backend.Backend;
import dev.gregale.backend.cpu.CpuBackend;
import dev.gregale.backend.cpu.CpuCollective;
import dev.gregale.backend.parallel.ParallelBackend;
import dev.gregale.backend.parallel.RankLayout;
import dev.gregale.checkpoint.ModelDimensions;
import dev.gregale.checkpoint.SafetensorsFile;
import dev.gregale.quantization.Quantization;
import dev.gregale.tensor.DType;
import dev.gregale.tensor.InputScaling.When;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Random;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

/** The model over several ranks, which the CPU runs one after the other. */
class ParallelModelTest {
  private static final double TOLERANCE = 2e-4; // as for one rank: see MixtralGoldenTest
  @TempDir Path directory;

  static Backend parallel(int size, int expertGroups, AttentionShape attention) {
    RankLayout layout = new RankLayout(size, expertGroups);
    List<CpuBackend> ranks = Stream.generate(() -> CpuBackend.create(1)).limit(size).toList();
    return new ParallelBackend(ranks, new CpuCollective(size), layout, attention);
  }

  @ParameterizedTest
  @CsvSource({"2, 1", "2, 2"})
  void logitsOfPrompts(int size, int expertGroups) {
    try (Backend backend = parallel(size, expertGroups, Golden.DEMO_ATTENTION)) {
      ForwardFixture forward =
          new ForwardFixture(backend, Golden.DEMO_MODEL, LoadFormat.AUTO, 32, 64);
      for (int i = 0; i < 8; i++) {
        try (SafetensorsFile golden = Golden.open("logits/prompt" + i + ".safetensors")) {
          int[] ids = Golden.ints(golden, "input_ids");
          float[] found = forward.logits(List.of(ids));
          Golden.assertClose(
              "prompt" + i, Golden.floats(golden, "logits_fp32"), found, 0, TOLERANCE);
          assertThat(forward.logits(List.of(ids))).as("again").isEqualTo(found);
        }
      }
    }
  }

  /** Chunks, and batch mates, leave no bit of a row different on several ranks either. */
  @Test
  void packedSequencesAreAsAlone() {
    try (Backend backend = parallel(2, 2, Golden.DEMO_ATTENTION);
        SafetensorsFile golden = Golden.open("packed/packed.safetensors")) {
      ForwardFixture forward =
          new ForwardFixture(backend, Golden.DEMO_MODEL, LoadFormat.AUTO, 256, 256);
      int[] ids = Golden.ints(golden, "input_ids");
      int[] cu = Golden.ints(golden, "cu_seqlens");
      List<int[]> sequences = new ArrayList<>();
      for (int s = 0; s + 1 < cu.length; s++) {
        sequences.add(Arrays.copyOfRange(ids, cu[s], cu[s + 1]));
      }
      float[] packed = forward.logits(sequences);
      int vocabSize = forward.config.vocabSize();
      for (int s = 0; s < sequences.size(); s++) {
        assertThat(forward.logits(List.of(sequences.get(s))))
            .isEqualTo(Arrays.copyOfRange(packed, cu[s] * vocabSize, cu[s + 1] * vocabSize));
      }
    }
  }

  @ParameterizedTest
  @CsvSource({"2, 1", "2, 2", "4, 1", "4, 2", "4, 4"})
  void everyDivisionGivesTheLogitsOfOneRank(int size, int expertGroups) throws Exception {
    ModelDimensions dims = new ModelDimensions(64, 2, 8, 4, 16, 8, 48, 128, false);
    RandomModel.write(directory, dims);
    int[] ids = new Random(3).ints(40, 0, 128).toArray();
    float[] expected;
    try (Backend one = CpuBackend.create(1)) {
      expected = new ForwardFixture(one, directory, LoadFormat.AUTO, 64, 64).logits(List.of(ids));
    }
    try (Backend backend = parallel(size, expertGroups, new AttentionShape(8, 4, 16, 0))) {
      float[] found =
          new ForwardFixture(backend, directory, LoadFormat.AUTO, 64, 64).logits(List.of(ids));
      for (int i = 0; i < expected.length; i++) {
        assertThat(found[i]).isCloseTo(expected[i], within((float) TOLERANCE));
      }
    }
  }

  /** Shares of 64 key rows begin and end inside blocks of 128. */
  @ParameterizedTest
  @CsvSource({"FP8, 2, 1", "FP8_BLOCK, 2, 1", "FP8_BLOCK, 2, 2", "MXFP8, 2, 1", "MXFP8, 4, 2"})
  void quantisedWeightsGiveTheLogitsOfOneRank(Quantization format, int size, int expertGroups)
      throws Exception {
    RandomModel.write(directory, new ModelDimensions(128, 2, 8, 4, 32, 4, 256, 128, false));
    Precision precision = new Precision(format.recipe(), When.NEVER);
    int[] ids = new Random(5).ints(40, 0, 128).toArray();
    float[] expected;
    try (Backend one = CpuBackend.create(1)) {
      expected = quantised(one, precision).logits(List.of(ids));
    }
    try (Backend backend = parallel(size, expertGroups, new AttentionShape(8, 4, 32, 0))) {
      float[] found = quantised(backend, precision).logits(List.of(ids));
      Golden.assertClose(format.name(), expected, found, 0, TOLERANCE);
    }
  }

  private ForwardFixture quantised(Backend backend, Precision precision) {
    return new ForwardFixture(backend, directory, precision, DType.F8_E4M3, 64, 64, 16);
  }

  @ParameterizedTest
  @CsvSource({
    "3, 1, 6, 2, 8, 192, '2 key/value heads cannot be divided by 3: 2 remain'",
    "4, 1, 6, 2, 8, 192, '6 query heads cannot be divided by 4: 2 remain'",
    "4, 4, 8, 4, 6, 192, '6 experts cannot be divided by 4: 2 remain'",
    "4, 2, 8, 4, 8, 191, '191 intermediate rows cannot be divided by 2: 1 remain'"
  })
  void whatCannotBeDividedIsRefusedWithTheArithmetic(
      int size,
      int expertGroups,
      int heads,
      int kvHeads,
      int experts,
      int intermediate,
      String message) {
    AttentionShape attention = new AttentionShape(heads, kvHeads, 32, 0);
    assertThatThrownBy(
            () -> new RankLayout(size, expertGroups).check(attention, experts, intermediate))
        .hasMessage(message);
  }

  @Test
  void groupsOfExpertsMustDivideTheRanks() {
    assertThatThrownBy(() -> new RankLayout(4, 3))
        .hasMessage("4 ranks cannot form 3 groups of experts: the second must divide the first");
  }
}
