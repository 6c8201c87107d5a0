package dev.gregale.model;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.gregale.backend.Backend;
import dev.gregale.backend.cuda.CudaBackends;
import dev.gregale.checkpoint.SafetensorsFile;
import java.nio.file.Files;
import java.util.Arrays;
import java.util.List;
import java.util.concurrent.atomic.DoubleAccumulator;
import java.util.stream.Stream;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;
import tools.jackson.databind.JsonNode;
import tools.jackson.databind.json.JsonMapper;

/**
 * The whole model with bf16 operands against the fp32 forward of Hugging Face's MixtralForCausalLM:
 * no further from it than Hugging Face's own bf16 forward is.
 */
@Tag("gpu")
class CudaGoldenTest {

  /**
   * ‖found - expected‖ / ‖expected‖ of a random model's logits. One rounding to bf16 is 0.17% (root
   * mean square); two layers and the head have about 20 of them in a row, fp32 weights one more for
   * each of 9 matrices: sqrt(29) * 0.17% is 0.9%, and a router's choice in doubt may double it.
   */
  private static final double RELATIVE = 2e-2;

  /** How far Hugging Face's bf16 is off in held-out loss, in nats. */
  private static final double LOSS = 7e-4;

  static Stream<? extends Backend> backends() {
    return CudaBackends.both();
  }

  static Stream<Backend> withRanks() {
    return CudaBackends.withRanks(Golden.DEMO_ATTENTION);
  }

  static Stream<Backend> deterministic() {
    return CudaBackends.deterministic(Golden.DEMO_ATTENTION);
  }

  private static JsonNode json(String name) throws Exception {
    return JsonMapper.shared().readTree(Files.readString(Golden.path(name)));
  }

  @ParameterizedTest
  @MethodSource("withRanks")
  void logitsOfPrompts(Backend backend) throws Exception {
    JsonNode index = json("logits/index.json");
    ForwardFixture forward =
        new ForwardFixture(backend, Golden.DEMO_MODEL, LoadFormat.AUTO, 32, 64);
    double[] ours = new double[index.size()];
    double[] theirs = new double[index.size()];
    for (int i = 0; i < ours.length; i++) {
      try (SafetensorsFile golden = Golden.open("logits/prompt" + i + ".safetensors")) {
        float[] found = forward.logits(List.of(Golden.ints(golden, "input_ids")));
        ours[i] = largestError(Golden.floats(golden, "logits_fp32"), found);
        theirs[i] = index.get(i).get("max_abs_diff_bf16").asDouble();
      }
    }
    String table = "ours " + Arrays.toString(ours) + ", HF " + Arrays.toString(theirs);
    System.out.printf("golden logits on %s: largest errors %s%n", backend.description(), table);
    for (int i = 0; i < ours.length; i++) {
      assertTrue(ours[i] <= 1.5 * theirs[i], "prompt " + i + ": " + table);
    }
    assertTrue(median(ours) <= median(theirs), table);
  }

  private static double largestError(float[] expected, float[] found) {
    assertEquals(expected.length, found.length);
    double worst = 0;
    for (int i = 0; i < expected.length; i++) {
      double error = Math.abs((double) expected[i] - found[i]);
      worst = Double.isNaN(error) ? Double.POSITIVE_INFINITY : Math.max(worst, error);
    }
    return worst;
  }

  private static double median(double[] values) {
    double[] sorted = values.clone();
    Arrays.sort(sorted);
    return (sorted[(sorted.length - 1) / 2] + sorted[sorted.length / 2]) / 2;
  }

  private static double relativeError(float[] expected, float[] found) {
    double error = 0;
    double norm = 0;
    for (int i = 0; i < expected.length; i++) {
      double difference = (double) expected[i] - found[i];
      error += difference * difference;
      norm += (double) expected[i] * expected[i];
    }
    return Math.sqrt(error / norm);
  }

  @ParameterizedTest
  @MethodSource("backends")
  void randomModelsInEveryLayout(Backend backend) {
    DoubleAccumulator worst = new DoubleAccumulator(Math::max, 0);
    GoldenRuns.randomModels(
        backend,
        (what, expected, found) -> {
          double error = relativeError(expected, found);
          assertTrue(error <= RELATIVE, what + ": relative error " + error);
          worst.accumulate(error);
        });
    System.out.printf("golden random: largest relative error %.2e%n", worst.get());
  }

  @ParameterizedTest
  @MethodSource("backends")
  void lossOnHeldOutText(Backend backend) throws Exception {
    JsonNode golden = json("heldout/loss.json");
    ForwardFixture forward =
        new ForwardFixture(backend, Golden.DEMO_MODEL, LoadFormat.AUTO, 512, 512);
    double loss = GoldenRuns.heldOutLoss(forward, 65);
    double expected = golden.get("loss").get("fp32").asDouble();
    System.out.printf("golden heldout loss: %.6f, fp32 %.6f%n", loss, expected);
    assertEquals(expected, loss, LOSS);
  }

  /** The same batch has the same bits every time. */
  @ParameterizedTest
  @MethodSource("withRanks")
  void sameBatchSameBits(Backend backend) {
    ForwardFixture forward =
        new ForwardFixture(backend, Golden.DEMO_MODEL, LoadFormat.AUTO, 256, 256);
    List<int[]> sequences = GoldenRuns.packedSequences();
    float[] first = forward.logits(sequences);
    for (int i = 0; i < 20; i++) {
      assertArrayEquals(first, forward.logits(sequences));
    }
  }

  /** In the deterministic mode: several sequences packed have the bits that each has alone. */
  @ParameterizedTest
  @MethodSource("deterministic")
  void packedSequences(Backend backend) {
    ForwardFixture forward =
        new ForwardFixture(backend, Golden.DEMO_MODEL, LoadFormat.AUTO, 256, 256);
    List<int[]> sequences = GoldenRuns.packedSequences();
    float[] together = forward.logits(sequences);
    int at = 0;
    for (int[] sequence : sequences) {
      float[] alone = forward.logits(List.of(sequence));
      assertArrayEquals(alone, Arrays.copyOfRange(together, at, at + alone.length));
      at += alone.length;
    }
    assertEquals(together.length, at);
  }

  /** In the deterministic mode: chunks, and single tokens, have the bits of the prompt at once. */
  @Test
  void chunkedPrefillAndDecode() {
    try (Backend backend = CudaBackends.deterministic()) {
      GoldenRuns.assertChunksHaveTheBitsOfTheWhole(backend);
    }
  }

  /** In the fastest mode decode takes other kernels: close, if not equal. */
  @Test
  void decodeAgreesWithPrefill() {
    try (Backend backend = CudaBackends.fastest();
        SafetensorsFile golden = Golden.open("logits/long.safetensors")) {
      ForwardFixture forward =
          new ForwardFixture(backend, Golden.DEMO_MODEL, LoadFormat.AUTO, 160, 160);
      int[] ids = Golden.ints(golden, "long0.input_ids");
      int vocabSize = forward.config.vocabSize();
      forward.logits(List.of(Arrays.copyOf(ids, 100)));
      float[] logits = new float[60 * vocabSize];
      for (int t = 100; t < 160; t++) {
        float[] row = forward.logits(List.of(new int[] {ids[t]}), new int[] {t});
        System.arraycopy(row, 0, logits, (t - 100) * vocabSize, vocabSize);
      }
      int[] tail = Arrays.copyOfRange(ids, 100, 160);
      float[] found = GoldenRuns.logprobs(logits, tail, vocabSize);
      float[] expected = Arrays.copyOfRange(Golden.floats(golden, "long0.logprob_fp32"), 100, 159);
      float[] theirs = Arrays.copyOfRange(Golden.floats(golden, "long0.logprob_bf16"), 100, 159);
      double worst = largestError(expected, found);
      System.out.printf(
          "golden decode: largest error of a log-probability %.3f, HF %.3f%n",
          worst, largestError(expected, theirs));
      assertTrue(worst <= 1.5 * largestError(expected, theirs), "largest error " + worst);
    }
  }
}
