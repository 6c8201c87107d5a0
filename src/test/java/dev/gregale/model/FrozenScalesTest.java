package dev.gregale.model;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.gregale.backend.Backend;
import dev.gregale.backend.WeightRole;
import dev.gregale.backend.cpu.CpuBackend;
import dev.gregale.checkpoint.CheckpointLayout;
import dev.gregale.checkpoint.SafetensorsFile;
import dev.gregale.checkpoint.SafetensorsWriter;
import dev.gregale.model.QuantizedAccuracyTest.Score;
import dev.gregale.quantization.Float8CurrentScaling;
import dev.gregale.quantization.WeightQuantizer;
import dev.gregale.tensor.DType;
import dev.gregale.tensor.HostTensor;
import dev.gregale.tensor.InputScaling.When;
import dev.gregale.tensor.Shape;
import java.io.IOException;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.EnumMap;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import tools.jackson.databind.json.JsonMapper;
import tools.jackson.databind.node.ObjectNode;

/**
 * DelayedScaling in inference: the demo model with scales of inputs that a checkpoint brings. They
 * are found here as a calibration finds them, as the smallest powers of two that cut nothing off.
 */
class FrozenScalesTest {
  private static final List<WeightRole> ROLES =
      List.of(WeightRole.LINEAR, WeightRole.EXPERTS_GATE_UP, WeightRole.EXPERTS_DOWN);

  private static final float SMALLEST = 0x1p-12f;

  @TempDir private Path directory;

  /** As AutoFP8 stores them. */
  private Path write(Map<WeightRole, Float> inputScales) throws IOException {
    try (SafetensorsFile demo =
            SafetensorsFile.open(Golden.DEMO_MODEL.resolve("model.safetensors"));
        Arena arena = Arena.ofShared()) {
      List<HostTensor> tensors = new ArrayList<>();
      for (String name : demo.names()) {
        HostTensor source = demo.tensor(name);
        if (!CheckpointLayout.isQuantisable(name)) {
          tensors.add(source);
          continue;
        }
        List<Integer> rows = List.of(source.shape().intDim(0));
        HostTensor codes =
            new WeightQuantizer(source, rows, new Float8CurrentScaling(), When.NEVER)
                .toTensor(arena);
        tensors.add(codes);
        tensors.add(scalar(name + "_scale", Objects.requireNonNull(codes.scales()).slabs()));
        float inputs = Objects.requireNonNull(inputScales.get(role(name)));
        MemorySegment fixed = arena.allocateFrom(ValueLayout.JAVA_FLOAT, inputs);
        tensors.add(scalar(name.replace("weight", "input_scale"), List.of(fixed)));
      }
      SafetensorsWriter.write(directory.resolve("model.safetensors"), tensors, Map.of());
    }
    ObjectNode config =
        (ObjectNode)
            JsonMapper.shared()
                .readTree(Files.readString(Golden.DEMO_MODEL.resolve("config.json")));
    config
        .putObject("quantization_config")
        .put("quant_method", "fp8")
        .put("activation_scheme", "static");
    Files.writeString(directory.resolve("config.json"), config.toString());
    return directory;
  }

  private static HostTensor scalar(String name, List<MemorySegment> slabs) {
    return new HostTensor(name, DType.F32, Shape.of(), slabs);
  }

  private static WeightRole role(String name) {
    return name.contains("self_attn")
        ? WeightRole.LINEAR
        : name.contains(".w2.") ? WeightRole.EXPERTS_DOWN : WeightRole.EXPERTS_GATE_UP;
  }

  private ForwardFixture forward(Backend backend, Map<WeightRole, Float> inputScales, DType cache)
      throws IOException {
    return new ForwardFixture(
        backend,
        write(inputScales),
        new Precision(null, When.ALWAYS),
        cache,
        QuantizedAccuracyTest.WINDOW,
        QuantizedAccuracyTest.WINDOW,
        16);
  }

  private Map<WeightRole, Float> calibrated(Backend backend) throws IOException {
    Map<WeightRole, Float> scales = new EnumMap<>(WeightRole.class);
    ROLES.forEach(role -> scales.put(role, SMALLEST));
    boolean cutOff = true;
    while (cutOff) {
      Map<WeightRole, Long> before = saturated(backend);
      QuantizedAccuracyTest.score(forward(backend, scales, DType.F32), 1);
      Map<WeightRole, Long> after = saturated(backend);
      cutOff = !after.equals(before);
      for (WeightRole role : ROLES) {
        if (!Objects.equals(after.get(role), before.get(role))) {
          scales.compute(role, (r, scale) -> 2 * Objects.requireNonNull(scale));
        }
      }
    }
    return scales;
  }

  private static Map<WeightRole, Long> saturated(Backend backend) {
    Map<WeightRole, Long> counts = new EnumMap<>(WeightRole.class);
    ROLES.forEach(role -> counts.put(role, backend.saturatedInputs(role)));
    return counts;
  }

  @Test
  void lossIsNearFp32() throws Exception {
    try (Backend backend = CpuBackend.create(2)) {
      Map<WeightRole, Float> scales = calibrated(backend);
      scales.replaceAll((role, scale) -> 2 * scale); // a margin of 1, for other texts
      ForwardFixture forward = forward(backend, scales, DType.F32);
      QuantizedAccuracyTest.assertNearFp32(
          "frozen scales " + scales,
          QuantizedAccuracyTest.score(forward, QuantizedAccuracyTest.SOME_WINDOWS),
          QuantizedAccuracyTest.SAME_ARGMAX);
    }
  }

  /** A scale that is too small costs accuracy, silently but for this count. */
  @Test
  void whatIsCutOffIsCounted() throws Exception {
    try (Backend backend = CpuBackend.create(2)) {
      Map<WeightRole, Float> scales = calibrated(backend);
      Map<WeightRole, Long> before = saturated(backend);
      Score fitting = QuantizedAccuracyTest.score(forward(backend, scales, DType.F32), 1);
      assertEquals(before, saturated(backend));
      for (WeightRole role : ROLES) {
        Map<WeightRole, Float> small = new EnumMap<>(scales);
        small.put(role, SMALLEST);
        Score cut = QuantizedAccuracyTest.score(forward(backend, small, DType.F32), 1);
        assertTrue(cut.loss() > fitting.loss() + 0.02, role + ": " + cut + ", not: " + fitting);
        assertTrue(
            backend.saturatedInputs(role) > Objects.requireNonNull(before.get(role)), role + "");
        before = saturated(backend);
      }
    }
  }

  /** A fixed scale is nobody's: packed, chunked and token by token are the same. */
  @Test
  void packedIsAlone() throws Exception {
    try (Backend backend = CpuBackend.create(3)) {
      Map<WeightRole, Float> scales = new EnumMap<>(WeightRole.class);
      ROLES.forEach(role -> scales.put(role, 0.02f));
      ForwardFixture forward = forward(backend, scales, DType.F8_E4M3);
      QuantizedAccuracyTest.assertPackedIsAlone(
          "frozen scales", forward, GoldenRuns.packedSequences());
    }
  }

  /** The vector kernels and the plain loops round alike. */
  @Test
  void theOracleAgrees() throws Exception {
    Map<WeightRole, Float> scales = new EnumMap<>(WeightRole.class);
    ROLES.forEach(role -> scales.put(role, 0.02f));
    List<int[]> prompt = List.of(new int[] {1, 300, 17, 256, 40, 99, 3});
    try (Backend vector = CpuBackend.create(2);
        Backend oracle = CpuBackend.reference()) {
      float[] found = forward(vector, scales, DType.F32).logits(prompt);
      float[] expected = forward(oracle, scales, DType.F32).logits(prompt);
      Golden.assertClose("logits", expected, found, 0, 0.02);
      assertEquals(-1, oracle.saturatedInputs(WeightRole.LINEAR)); // not counted
    }
  }
}
