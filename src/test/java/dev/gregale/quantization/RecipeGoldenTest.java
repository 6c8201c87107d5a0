package dev.gregale.quantization;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;

import dev.gregale.checkpoint.SafetensorsFile;
import dev.gregale.model.Golden;
import dev.gregale.quantization.MXFP8BlockScaling.Rounding;
import dev.gregale.tensor.DType;
import dev.gregale.tensor.E4M3;
import dev.gregale.tensor.HostScales;
import dev.gregale.tensor.HostTensor;
import dev.gregale.tensor.InputScaling;
import dev.gregale.tensor.InputScaling.Kind;
import dev.gregale.tensor.InputScaling.When;
import dev.gregale.tensor.TensorReader;
import dev.gregale.tensor.WeightScaling;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.file.Files;
import java.security.MessageDigest;
import java.util.HexFormat;
import java.util.List;
import java.util.Map;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.Arguments;
import org.junit.jupiter.params.provider.MethodSource;
import tools.jackson.databind.JsonNode;
import tools.jackson.databind.json.JsonMapper;

/** Every recipe, bit for bit: codes, scales, and what they mean, of every matrix of the demo. */
class RecipeGoldenTest {

  /** The same scales along rows only; kept to compare with, no recipe of weights. */
  private static final String ROW_BLOCKS = "rowblock1x128_pow2scale";

  static Stream<Arguments> recipes() {
    return Stream.of(
        Arguments.of("per_tensor_current", new Float8CurrentScaling()),
        Arguments.of("block128x128_fp32scale", new Float8BlockScaling(false)),
        Arguments.of("block128x128_pow2scale", new Float8BlockScaling(true)),
        Arguments.of("mxfp8_te", new MXFP8BlockScaling(Rounding.UP)),
        Arguments.of("mxfp8_ocp", new MXFP8BlockScaling(Rounding.OCP)));
  }

  @ParameterizedTest
  @MethodSource("recipes")
  void everyMatrix(String golden, Recipe recipe) throws Exception {
    JsonNode sums =
        JsonMapper.shared()
            .readTree(Files.readString(Golden.path("fp8/" + golden + ".sha256.json")));
    try (SafetensorsFile model =
            SafetensorsFile.open(Golden.DEMO_MODEL.resolve("model.safetensors"));
        SafetensorsFile kept = Golden.open("fp8/" + golden + ".safetensors");
        Arena arena = Arena.ofShared()) {
      for (Map.Entry<String, JsonNode> matrix : sums.properties()) {
        String name = matrix.getKey();
        HostTensor source = model.tensor(name);
        List<Integer> rows = List.of(source.shape().intDim(0));
        HostTensor found = new WeightQuantizer(source, rows, recipe, When.NEVER).toTensor(arena);
        byte[] codes = found.slabs().getFirst().toArray(ValueLayout.JAVA_BYTE);
        assertEquals(matrix.getValue().get("sha256_q").asString(), sha256(codes), name);
        assertEquals(
            matrix.getValue().get("sha256_dequant_fp32").asString(),
            sha256(bytes(meaning(found))),
            name);
        assertKept(kept, name, found, codes);
      }
      assertEquals(84, sums.size());
    }
  }

  private static void assertKept(
      SafetensorsFile kept, String name, HostTensor found, byte[] codes) {
    if (!kept.contains(name + ".q")) {
      return;
    }
    assertArrayEquals(kept.data(name + ".q").toArray(ValueLayout.JAVA_BYTE), codes, name);
    boolean exponents = scales(found).scaling().dtype() == DType.F8_E8M0;
    assertEquals(
        -1,
        scales(found)
            .slabs()
            .getFirst()
            .mismatch(kept.data(name + (exponents ? ".scale_e8m0" : ".scale_inv"))),
        name);
  }

  private static HostScales scales(HostTensor tensor) {
    HostScales scales = tensor.scales();
    if (scales == null) {
      throw new AssertionError(tensor + " has no scales");
    }
    return scales;
  }

  /** code * scale. */
  static float[] meaning(HostTensor tensor) {
    HostScales scales = scales(tensor);
    float[] values = TensorReader.toFloats(tensor);
    float[] grid = scales.values();
    int[] gridRow = scales.gridRowOfRow();
    int width = tensor.shape().intDim(tensor.shape().rank() - 1);
    int columns = scales.scaling().gridColumns(width);
    for (int i = 0; i < values.length; i++) {
      values[i] *= grid[gridRow[i / width] * columns + i % width / scales.scaling().blockColumns()];
    }
    return values;
  }

  private static byte[] bytes(float[] values) {
    ByteBuffer bytes = ByteBuffer.allocate(4 * values.length).order(ByteOrder.LITTLE_ENDIAN);
    bytes.asFloatBuffer().put(values);
    return bytes.array();
  }

  private static String sha256(byte[] bytes) throws Exception {
    return HexFormat.of().formatHex(MessageDigest.getInstance("SHA-256").digest(bytes));
  }

  @Test
  void codes() {
    try (SafetensorsFile golden = Golden.open("fp8/codes.safetensors")) {
      float[] values = Golden.floats(golden, "e4m3_values");
      for (int code = 0; code < 256; code++) {
        float found = E4M3.decode((byte) code);
        assertEquals(Float.floatToIntBits(values[code]), Float.floatToIntBits(found), "" + code);
        if (!Float.isNaN(found)) {
          assertEquals((byte) code, E4M3.encode(found));
        }
      }
      float[] x = Golden.floats(golden, "x");
      byte[] expected = golden.data("x_to_e4m3_saturating").toArray(ValueLayout.JAVA_BYTE);
      for (int i = 0; i < x.length; i++) {
        assertEquals(expected[i], E4M3.encode(x[i]), "code of " + x[i]);
      }
    }
    assertEquals(0x7e, E4M3.encode(Float.POSITIVE_INFINITY));
    assertEquals((byte) 0xfe, E4M3.encode(Float.NEGATIVE_INFINITY));
    assertEquals(0x7f, E4M3.encode(Float.NaN));
    assertEquals((byte) 0x80, E4M3.encode(-0f));
  }

  /** Inputs as they are before a product: codes and scales per tensor, 1x128 and 1x32. */
  @Test
  void inputs() {
    try (SafetensorsFile golden = Golden.open("fp8/gemm.safetensors")) {
      float[] x = Golden.floats(golden, "x"); // [17, 192]
      float[] frozen = Golden.floats(golden, "per_tensor.x_scale_inv");
      assertInputs(golden, "per_tensor", x, 192, new DelayedScaling(frozen[0]), frozen);
      assertInputs(
          golden,
          "block",
          x,
          128,
          new Float8BlockScaling(true),
          Golden.floats(golden, "block.x_scale_inv"));
      byte[] exponents = golden.data("mx.x_scale_e8m0").toArray(ValueLayout.JAVA_BYTE);
      float[] scales = new float[exponents.length];
      for (int i = 0; i < scales.length; i++) {
        scales[i] = Math.scalb(1f, Byte.toUnsignedInt(exponents[i]) - 127);
      }
      assertInputs(golden, "mx", x, 32, new MXFP8BlockScaling(Rounding.UP), scales);
      float amax = Recipe.amax(x, 0, x.length);
      Recipe current = new Float8CurrentScaling();
      assertEquals(Golden.floats(golden, "per_tensor.x_amax")[0], amax);
      assertEquals(frozen[0], current.inverse(current.scale(amax)));
    }
  }

  private static void assertInputs(
      SafetensorsFile golden, String name, float[] x, int block, Recipe recipe, float[] scales) {
    byte[] expected = golden.data(name + ".x_q").toArray(ValueLayout.JAVA_BYTE);
    byte[] codes = new byte[x.length];
    int at = 0;
    for (int row = 0; row < 17; row++) {
      for (int from = 0; from < 192; from += block) {
        int start = row * 192 + from;
        float scale = recipe.quantize(x, start, Math.min(block, 192 - from), codes, start);
        assertEquals(scales[scales.length == 1 ? 0 : at++], scale, name + " row " + row);
      }
    }
    assertArrayEquals(expected, codes, name);
    float[] rounded = new float[x.length];
    InputScaling inputs = recipe.weights(When.ALWAYS).inputs();
    for (int row = 0; row < 17; row++) {
      new InputQuantizer(inputs).round(x, row * 192, 192, rounded, row * 192);
    }
    for (int i = 0; i < x.length; i++) {
      int column = i % 192;
      float scale =
          scales.length == 1
              ? scales[0]
              : scales[i / 192 * Math.ceilDiv(192, block) + column / block];
      assertEquals(E4M3.decode(codes[i]) * scale, rounded[i], name + " element " + i);
    }
  }

  @Test
  void weightsAlongRowsOnlyAreWhatInputsAre() {
    try (SafetensorsFile model =
            SafetensorsFile.open(Golden.DEMO_MODEL.resolve("model.safetensors"));
        SafetensorsFile golden = Golden.open("fp8/" + ROW_BLOCKS + ".safetensors")) {
      String name = "model.layers.1.self_attn.k_proj.weight";
      HostTensor source = model.tensor(name);
      float[] values = TensorReader.toFloats(source);
      byte[] codes = new byte[values.length];
      float[] scales = Golden.floats(golden, name + ".scale_inv");
      for (int block = 0; block < scales.length; block++) {
        int from = block / 2 * 192 + block % 2 * 128;
        float scale =
            new Float8BlockScaling(true)
                .quantize(values, from, block % 2 == 0 ? 128 : 64, codes, from);
        assertEquals(scales[block], scale);
      }
      MemorySegment expected = golden.data(name + ".q");
      assertEquals(-1, expected.mismatch(MemorySegment.ofArray(codes)));
    }
  }

  @Test
  void formats() {
    WeightScaling block = new Float8BlockScaling(true).weights(When.IF_FASTER);
    assertEquals(Kind.BLOCK_128_POW2, block.inputs().kind());
    assertEquals(2, block.gridRows(129));
    assertEquals(1, new Float8CurrentScaling().weights(When.NEVER).gridRows(1L << 20));
    assertEquals(3, new MXFP8BlockScaling(Rounding.UP).weights(When.NEVER).gridColumns(65));
  }
}
