package dev.gregale.model;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.gregale.backend.Backend;
import dev.gregale.backend.SaturatedInputs;
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
  private static final float SMALLEST = 0x1p-12f;

  /** Of inputs of attention's projections, and of experts'. */
  private record Scales(float attention, float experts) {}

  @TempDir private Path directory;

  /** As AutoFP8 stores them. */
  private Path write(Scales inputs) throws IOException {
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
        MemorySegment fixed =
            arena.allocateFrom(
                ValueLayout.JAVA_FLOAT,
                name.contains("self_attn") ? inputs.attention() : inputs.experts());
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

  private ForwardFixture forward(Backend backend, Scales inputs, DType cache) throws IOException {
    return new ForwardFixture(
        backend,
        write(inputs),
        new Precision(null, When.ALWAYS),
        cache,
        QuantizedAccuracyTest.WINDOW,
        QuantizedAccuracyTest.WINDOW,
        16);
  }

  private Score scoreOfOneWindow(Backend backend, Scales inputs) throws IOException {
    return QuantizedAccuracyTest.score(forward(backend, inputs, DType.F32), 1);
  }

  private Scales calibrated(Backend backend) throws IOException {
    Scales scales = new Scales(SMALLEST, SMALLEST);
    while (true) {
      SaturatedInputs before = saturated(backend);
      var unused = scoreOfOneWindow(backend, scales);
      SaturatedInputs after = saturated(backend);
      if (after.equals(before)) {
        return scales;
      }
      scales =
          new Scales(
              scales.attention() * (after.attention() > before.attention() ? 2 : 1),
              scales.experts() * (after.experts() > before.experts() ? 2 : 1));
    }
  }

  private static SaturatedInputs saturated(Backend backend) {
    return Objects.requireNonNull(backend.saturatedInputs());
  }

  @Test
  void lossIsNearFp32() throws Exception {
    try (Backend backend = CpuBackend.create(2)) {
      Scales fitting = calibrated(backend);
      // A margin of 1, for other texts.
      Scales scales = new Scales(2 * fitting.attention(), 2 * fitting.experts());
      ForwardFixture forward = forward(backend, scales, DType.F32);
      QuantizedAccuracyTest.assertNearFp32(
          "frozen " + scales,
          QuantizedAccuracyTest.score(forward, QuantizedAccuracyTest.SOME_WINDOWS));
    }
  }

  /** A scale that is too small costs accuracy, silently but for this count. */
  @Test
  void whatIsCutOffIsCounted() throws Exception {
    try (Backend backend = CpuBackend.create(2)) {
      Scales scales = calibrated(backend);
      SaturatedInputs before = saturated(backend);
      double fitting = scoreOfOneWindow(backend, scales).loss();
      assertEquals(before, saturated(backend));

      double cut = scoreOfOneWindow(backend, new Scales(SMALLEST, scales.experts())).loss();
      assertTrue(cut > fitting + 0.02, "attention: " + cut + ", uncut " + fitting);
      SaturatedInputs attention = saturated(backend);
      assertTrue(attention.attention() > before.attention());

      cut = scoreOfOneWindow(backend, new Scales(scales.attention(), SMALLEST)).loss();
      assertTrue(cut > fitting + 0.02, "experts: " + cut + ", uncut " + fitting);
      assertTrue(saturated(backend).experts() > attention.experts());
    }
  }

  /** A fixed scale is nobody's: packed, chunked and token by token are the same. */
  @Test
  void packedIsAlone() throws Exception {
    try (Backend backend = CpuBackend.create(3)) {
      ForwardFixture forward = forward(backend, new Scales(0.02f, 0.02f), DType.F8_E4M3);
      QuantizedAccuracyTest.assertPackedIsAlone(
          "frozen scales", forward, GoldenRuns.packedSequences());
    }
  }

  /** The vector kernels and the plain loops round alike. */
  @Test
  void theOracleAgrees() throws Exception {
    Scales scales = new Scales(0.02f, 0.02f);
    List<int[]> prompt = List.of(new int[] {1, 300, 17, 256, 40, 99, 3});
    try (Backend vector = CpuBackend.create(2);
        Backend oracle = CpuBackend.reference()) {
      float[] found = forward(vector, scales, DType.F32).logits(prompt);
      float[] expected = forward(oracle, scales, DType.F32).logits(prompt);
      Golden.assertClose("logits", expected, found, 0, 0.02);
    }
  }
}
