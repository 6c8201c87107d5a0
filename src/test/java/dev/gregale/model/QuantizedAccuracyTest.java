package dev.gregale.model;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.gregale.backend.Backend;
import dev.gregale.backend.cpu.CpuBackends;
import dev.gregale.checkpoint.SafetensorsFile;
import dev.gregale.quantization.Float8BlockScaling;
import dev.gregale.quantization.Float8CurrentScaling;
import dev.gregale.quantization.MXFP8BlockScaling;
import dev.gregale.quantization.MXFP8BlockScaling.Rounding;
import dev.gregale.quantization.Recipe;
import dev.gregale.tensor.DType;
import dev.gregale.tensor.InputScaling.When;
import java.nio.file.Files;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.function.Function;
import java.util.stream.Stream;
import org.junit.jupiter.api.TestInstance;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;
import tools.jackson.databind.JsonNode;
import tools.jackson.databind.json.JsonMapper;

/**
 * What FP8 costs: the demo model's loss on held-out text under every recipe that can be asked for,
 * against the reference values of the same recipe. A regression of accuracy fails here. (The other
 * recipes' weights are the reference's bit for bit, see RecipeGoldenTest.)
 */
@TestInstance(TestInstance.Lifecycle.PER_CLASS)
class QuantizedAccuracyTest {
  static final int WINDOW = 512;
  static final int ALL_WINDOWS = 65;

  /** The first eighth of the text, whose loss in fp32 is known window by window. */
  static final int SOME_WINDOWS = 8;

  static final double WEIGHT_ONLY = 0.0005;
  private static final double AGAINST_FP32 = 0.02;

  /**
   * How often the likeliest token must be that of fp32, with quantised inputs or cache. Codes that
   * are cut off where they should be rounded fall below it, though the loss may not.
   */
  private static final double SAME_ARGMAX = 0.89;

  /** Under the names of golden/heldout/loss.json. */
  private static Map<String, Recipe> recipes() {
    Map<String, Recipe> recipes = new LinkedHashMap<>();
    recipes.put("per_tensor_current", new Float8CurrentScaling());
    recipes.put("block128x128_pow2scale", new Float8BlockScaling(true));
    recipes.put("mxfp8_te", new MXFP8BlockScaling(Rounding.UP));
    return recipes;
  }

  protected Stream<? extends Backend> backends() {
    return CpuBackends.candidates().stream().skip(1); // the other is closed unused
  }

  /** Those that give a row the same bits in every batch. */
  protected Stream<? extends Backend> exactBackends() {
    return backends();
  }

  /**
   * @param losses of each token, in nats
   * @param sameArgmax share of positions whose likeliest token is that of fp32
   */
  record Score(float[] losses, double sameArgmax) {
    double loss() {
      double total = 0;
      for (float loss : losses) {
        total += loss;
      }
      return total / losses.length;
    }
  }

  static Score score(Backend backend, Precision precision, DType cache, int windows) {
    return score(new ForwardFixture(backend, precision, cache, WINDOW, WINDOW), windows);
  }

  /** On the first windows of the held-out text. */
  static Score score(ForwardFixture forward, int windows) {
    return score(ids -> forward.logits(List.of(ids)), forward.config.vocabSize(), windows);
  }

  /**
   * @param forward from a window's tokens {@code [T]} to their logits {@code [T, V]}
   */
  static Score score(Function<int[], float[]> forward, int vocabSize, int windows) {
    try (SafetensorsFile file = Golden.open("heldout/windows.safetensors")) {
      int[] all = Golden.ints(file, "windows");
      int[] argmax = Golden.ints(file, "argmax_fp32");
      float[] losses = new float[windows * (WINDOW - 1)];
      int at = 0;
      int same = 0;
      for (int w = 0; w < windows; w++) {
        int[] ids = Arrays.copyOfRange(all, w * WINDOW, (w + 1) * WINDOW);
        float[] logits = forward.apply(ids);
        for (float logprob : GoldenRuns.logprobs(logits, ids, vocabSize)) {
          losses[at++] = -logprob;
        }
        for (int t = 0; t < WINDOW; t++) {
          same += likeliest(logits, t * vocabSize, vocabSize) == argmax[w * WINDOW + t] ? 1 : 0;
        }
      }
      return new Score(losses, (double) same / (windows * WINDOW));
    }
  }

  private static int likeliest(float[] logits, int from, int vocabSize) {
    int best = 0;
    for (int i = 1; i < vocabSize; i++) {
      best = logits[from + i] > logits[from + best] ? i : best;
    }
    return best;
  }

  private static JsonNode golden() throws Exception {
    return JsonMapper.shared().readTree(Files.readString(Golden.path("heldout/loss.json")));
  }

  @ParameterizedTest
  @MethodSource("backends")
  void weightsOnly(Backend backend) throws Exception {
    JsonNode golden = golden();
    for (Map.Entry<String, Recipe> entry : recipes().entrySet()) {
      String name = entry.getKey() + "_weight_only";
      double expected = golden.get("loss").get(name).asDouble();
      double agreement = golden.get("top1_agreement_with_fp32").get(name).asDouble();
      String what = name + " on " + backend.description();
      Precision precision = new Precision(entry.getValue(), When.NEVER);
      Score found = assertWeightsOnly(what, backend, precision, expected);
      System.out.printf(
          "%s: loss %.6f (reference %.6f), same likeliest token as fp32 %.4f (reference %.4f)%n",
          what, found.loss(), expected, found.sameArgmax(), agreement);
      assertEquals(agreement, found.sameArgmax(), 0.005, what);
    }
  }

  /**
   * That they cost what they cost the reference.
   *
   * @param expected the reference's loss
   */
  protected Score assertWeightsOnly(
      String what, Backend backend, Precision precision, double expected) {
    Score found = score(backend, precision, backend.kvCacheDType(), ALL_WINDOWS);
    assertEquals(expected, found.loss(), WEIGHT_ONLY, what);
    return found;
  }

  @ParameterizedTest
  @MethodSource("backends")
  void weightsAndInputs(Backend backend) throws Exception {
    for (Map.Entry<String, Recipe> entry : recipes().entrySet()) {
      Precision precision = new Precision(entry.getValue(), When.ALWAYS);
      assertNearFp32(backend, entry.getKey() + " W8A8", precision, backend.kvCacheDType());
    }
  }

  @ParameterizedTest
  @MethodSource("backends")
  void keysAndValues(Backend backend) throws Exception {
    if (backend.kvCacheDTypes().contains(DType.F8_E4M3)) {
      assertNearFp32(backend, "FP8 KV cache", Precision.AS_STORED, DType.F8_E4M3);
    }
  }

  private void assertNearFp32(Backend backend, String what, Precision precision, DType cache)
      throws Exception {
    String where = what + " on " + backend.description();
    assertNearFp32(where, score(backend, precision, cache, SOME_WINDOWS));
  }

  /**
   * @param found of the first windows
   */
  static void assertNearFp32(String what, Score found) throws Exception {
    double expected = 0;
    for (int w = 0; w < SOME_WINDOWS; w++) {
      expected += golden().get("fp32_nll_per_window").get(w).asDouble();
    }
    expected /= SOME_WINDOWS * (WINDOW - 1);
    System.out.printf(
        "%s: loss %.6f (fp32 %.6f), same likeliest token as fp32 %.4f%n",
        what, found.loss(), expected, found.sameArgmax());
    assertEquals(expected, found.loss(), AGAINST_FP32, what);
    assertTrue(found.sameArgmax() > SAME_ARGMAX, what + ": " + found.sameArgmax());
  }

  /** Packed, in chunks or token by token: a sequence has the logits that it has alone. */
  @ParameterizedTest
  @MethodSource("exactBackends")
  void packedIsAlone(Backend backend) {
    for (Map.Entry<String, Recipe> entry : recipes().entrySet()) {
      ForwardFixture forward =
          new ForwardFixture(
              backend, new Precision(entry.getValue(), When.ALWAYS), DType.F8_E4M3, 256, 256);
      assertPackedIsAlone(entry.getKey(), forward, GoldenRuns.packedSequences());
    }
  }

  static void assertPackedIsAlone(String what, ForwardFixture forward, List<int[]> sequences) {
    int vocabSize = forward.config.vocabSize();
    float[] packed = forward.logits(sequences);
    int at = 0;
    for (int[] sequence : sequences) {
      int end = at + sequence.length * vocabSize;
      float[] together = Arrays.copyOfRange(packed, at, end);
      assertArrayEquals(forward.logits(List.of(sequence)), together, what + ", packed");
      at = end;
    }
    int[] first = sequences.getFirst();
    float[] whole = forward.logits(List.of(first));
    for (int computed = 0; computed < first.length; computed++) {
      float[] next = forward.logits(List.of(new int[] {first[computed]}), new int[] {computed});
      assertArrayEquals(
          Arrays.copyOfRange(whole, computed * vocabSize, (computed + 1) * vocabSize),
          next,
          what + ", token by token");
    }
  }
}
