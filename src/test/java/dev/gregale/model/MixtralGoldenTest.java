package dev.gregale.model;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.gregale.backend.Backend;
import dev.gregale.backend.Device;
import dev.gregale.backend.cpu.CpuBackends;
import dev.gregale.checkpoint.SafetensorsFile;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.List;
import java.util.concurrent.atomic.DoubleAccumulator;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;
import tools.jackson.databind.JsonNode;
import tools.jackson.databind.json.JsonMapper;

/** The whole model against the fp32 forward of Hugging Face's MixtralForCausalLM. */
class MixtralGoldenTest {
  private static final double TOLERANCE = 2e-4;
  private static final double ROUTER_GAP = 1e-5;

  static Stream<Backend> backends() {
    return Stream.concat(Stream.of(CpuBackends.oracle()), CpuBackends.candidates().stream());
  }

  @ParameterizedTest
  @MethodSource("backends")
  void logitsOfPrompts(Backend backend) {
    ForwardFixture forward =
        new ForwardFixture(backend, Golden.DEMO_MODEL, LoadFormat.AUTO, 32, 64);
    double worst = 0;
    for (int i = 0; i < 8; i++) {
      try (SafetensorsFile golden = Golden.open("logits/prompt" + i + ".safetensors")) {
        float[] found = forward.logits(List.of(Golden.ints(golden, "input_ids")));
        float[] expected = Golden.floats(golden, "logits_fp32");
        assertEquals(expected.length, found.length);
        worst = Math.max(worst, Golden.assertClose("prompt" + i, expected, found, 0, TOLERANCE));
      }
    }
    report(backend, "logits", worst);
  }

  @ParameterizedTest
  @MethodSource("backends")
  void logprobsOfLongTexts(Backend backend) {
    ForwardFixture forward =
        new ForwardFixture(backend, Golden.DEMO_MODEL, LoadFormat.AUTO, 160, 160);
    double worst = 0;
    try (SafetensorsFile golden = Golden.open("logits/long.safetensors")) {
      for (String text : List.of("long0.", "long1.")) {
        int[] ids = Golden.ints(golden, text + "input_ids");
        float[] expected = Golden.floats(golden, text + "logprob_fp32");
        float[] found =
            GoldenRuns.logprobs(forward.logits(List.of(ids)), ids, forward.config.vocabSize());
        worst = Math.max(worst, Golden.assertClose(text, expected, found, 0, TOLERANCE));
      }
    }
    report(backend, "logits/long", worst);
  }

  /** Several sequences packed into one batch have the logits that each has alone. */
  @ParameterizedTest
  @MethodSource("backends")
  void packedSequences(Backend backend) {
    ForwardFixture forward =
        new ForwardFixture(backend, Golden.DEMO_MODEL, LoadFormat.AUTO, 256, 256);
    try (SafetensorsFile golden = Golden.open("packed/packed.safetensors")) {
      int[] cu = Golden.ints(golden, "cu_seqlens");
      List<int[]> sequences = GoldenRuns.packedSequences();
      int vocabSize = forward.config.vocabSize();
      float[] packed = forward.logits(sequences);
      float[] expected = Golden.floats(golden, "logits_rows");
      int[] rows = Golden.ints(golden, "rows");
      double worst = 0;
      for (int i = 0; i < rows.length; i++) {
        float[] row = Arrays.copyOfRange(expected, i * vocabSize, (i + 1) * vocabSize);
        worst =
            Math.max(
                worst,
                Golden.assertClose("row " + rows[i], row, packed, rows[i] * vocabSize, TOLERANCE));
      }
      for (int s = 0; s < sequences.size(); s++) {
        float[] alone = forward.logits(List.of(sequences.get(s)));
        float[] together = Arrays.copyOfRange(packed, cu[s] * vocabSize, cu[s + 1] * vocabSize);
        assertArrayEquals(alone, together, "sequence " + s + " packed is not bit for bit as alone");
      }
      report(backend, "packed", worst);
    }
  }

  @ParameterizedTest
  @MethodSource("backends")
  void chunkedPrefillAndDecode(Backend backend) {
    GoldenRuns.assertChunksHaveTheBitsOfTheWhole(backend);
  }

  @ParameterizedTest
  @MethodSource("backends")
  void randomModelsInEveryLayout(Backend backend) {
    DoubleAccumulator worst = new DoubleAccumulator(Math::max, 0);
    GoldenRuns.randomModels(
        backend,
        (what, expected, found) ->
            worst.accumulate(Golden.assertClose(what, expected, found, 0, TOLERANCE)));
    report(backend, "random", worst.get());
  }

  @ParameterizedTest
  @MethodSource("backends")
  void everyIntermediate(Device backend) {
    assertIntermediates(backend, Golden.DEMO_MODEL, "hidden/prompt1.safetensors");
    assertIntermediates(backend, Golden.DEMO_MODEL, "hidden/prompt2.safetensors");
    assertIntermediates(backend, Golden.path("random/odd0/hf"), "random/odd0/hidden.safetensors");
    assertIntermediates(backend, Golden.path("random/odd1/hf"), "random/odd1/hidden.safetensors");
  }

  private static void assertIntermediates(Device backend, Path directory, String file) {
    RecordingKernels recording = new RecordingKernels(backend);
    ForwardFixture forward =
        new ForwardFixture(backend, recording, directory, LoadFormat.AUTO, 32, 32);
    try (SafetensorsFile golden = Golden.open(file)) {
      forward.logits(List.of(Golden.ints(golden, "input_ids")));
      IntermediateNames names = new IntermediateNames(forward.config.numHiddenLayers());
      double worst = 0;
      int compared = 0;
      for (RecordingKernels.Recorded recorded : recording.log) {
        String name = names.next(recorded.op());
        if (!recorded.op().equals("routeTopK") && golden.names().contains(name)) {
          worst =
              Math.max(
                  worst,
                  Golden.assertClose(
                      name, Golden.floats(golden, name), recorded.values(), 0, TOLERANCE));
          compared++;
        } else if (recorded.op().equals("routeTopK")) {
          assertRouting(golden, name, recorded, forward.config);
          compared += 2;
        }
      }
      // input ids, and logits where they are given, are the only ones not compared here
      long rest = golden.names().stream().filter(n -> n.equals("logits")).count() + 1;
      assertEquals(golden.names().size() - rest, compared, file + ": not all were compared");
      report(backend, file, worst);
    }
  }

  /** Expert ids must be equal wherever the router's choice is no tie. */
  private static void assertRouting(
      SafetensorsFile golden, String layer, RecordingKernels.Recorded found, MixtralConfig config) {
    float[] logits = Golden.floats(golden, layer + "router_logits");
    int[] ids = Golden.ints(golden, layer + "expert_ids");
    int k = config.numExpertsPerTok();
    int numExperts = config.numLocalExperts();
    for (int t = 0; t < ids.length / k; t++) {
      float[] sorted = Arrays.copyOfRange(logits, t * numExperts, (t + 1) * numExperts);
      Arrays.sort(sorted);
      double gap = Double.POSITIVE_INFINITY;
      for (int i = 0; i < k; i++) {
        gap = Math.min(gap, sorted[numExperts - 1 - i] - sorted[numExperts - 2 - i]);
      }
      if (gap > ROUTER_GAP) {
        assertArrayEquals(
            Arrays.copyOfRange(ids, t * k, (t + 1) * k),
            Arrays.copyOfRange(found.ids(), t * k, (t + 1) * k),
            layer + "expert_ids of token " + t);
      }
    }
    Golden.assertClose(
        layer, Golden.floats(golden, layer + "expert_weights"), found.values(), 0, TOLERANCE);
  }

  @ParameterizedTest
  @MethodSource("backends")
  void lossOnHeldOutText(Backend backend) throws Exception {
    // The oracle is too slow for all 65 windows: it is held to the first two windows' own losses.
    int windows = backend.description().contains("plain loops") ? 2 : 65;
    JsonNode golden =
        JsonMapper.shared().readTree(Files.readString(Golden.path("heldout/loss.json")));
    ForwardFixture forward =
        new ForwardFixture(backend, Golden.DEMO_MODEL, LoadFormat.AUTO, 512, 512);
    double loss = GoldenRuns.heldOutLoss(forward, windows);
    double expected = 0;
    for (int w = 0; w < windows; w++) {
      expected += golden.get("fp32_nll_per_window").get(w).asDouble();
    }
    expected /= windows * 511;
    assertEquals(expected, loss, 1e-4);
    if (windows == 65) {
      assertEquals(golden.get("loss").get("fp32").asDouble(), loss, 1e-4);
    }
    report(backend, "heldout loss", Math.abs(expected - loss));
  }

  @Test
  void ropeAngles() {
    try (SafetensorsFile golden = Golden.open("rope/rope.safetensors")) {
      float[] inverse = RopeTable.inverseFrequencies(1e6, 32);
      float[] expected = Golden.floats(golden, "inv_freq");
      for (int i = 0; i < inverse.length; i++) {
        assertEquals(expected[i], inverse[i], 1.2e-7 * expected[i], "inv_freq " + i);
      }
      float[] table = RopeTable.cosinesAndSines(1e6, 32, 4096);
      float[] cos = Golden.floats(golden, "cos");
      float[] sin = Golden.floats(golden, "sin");
      int[] positions = Golden.ints(golden, "positions");
      double worst = 0;
      for (int p = 0; p < positions.length; p++) {
        for (int i = 0; i < 32; i++) {
          int at = positions[p] * 32 + i % 16;
          worst = Math.max(worst, Math.abs(cos[p * 32 + i] - table[at]));
          worst = Math.max(worst, Math.abs(sin[p * 32 + i] - table[at + 16]));
        }
      }
      // One unit in the last place of an inverse frequency turns position 4095 by 2.4e-4 at most.
      assertTrue(worst < TOLERANCE, "largest error " + worst);
      System.out.printf("golden rope: largest error %.2e%n", worst);
    }
  }

  private static void report(Backend backend, String golden, double worst) {
    System.out.printf(
        "golden %s on %s: largest error %.2e%n", golden, backend.description(), worst);
  }
}
