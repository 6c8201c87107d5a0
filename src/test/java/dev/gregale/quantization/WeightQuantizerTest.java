package dev.gregale.quantization;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.gregale.quantization.MXFP8BlockScaling.Rounding;
import dev.gregale.tensor.DType;
import dev.gregale.tensor.E4M3;
import dev.gregale.tensor.HostScales;
import dev.gregale.tensor.HostTensor;
import dev.gregale.tensor.InputScaling.When;
import dev.gregale.tensor.Shape;
import dev.gregale.tensor.WeightScaling;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.util.Arrays;
import java.util.List;
import java.util.SplittableRandom;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;

/** What the reference values do not show: stacked matrices, odd edges, special values. */
class WeightQuantizerTest {
  private static final int COLUMNS = 141;

  static List<Recipe> recipes() {
    return List.of(
        new Float8CurrentScaling(),
        new Float8BlockScaling(false),
        new Float8BlockScaling(true),
        new MXFP8BlockScaling(Rounding.UP),
        new MXFP8BlockScaling(Rounding.OCP));
  }

  private static HostTensor random(int rows, long seed) {
    SplittableRandom random = new SplittableRandom(seed);
    float[] values = new float[rows * COLUMNS];
    for (int i = 0; i < values.length; i++) {
      values[i] = (float) (random.nextGaussian() * Math.exp(random.nextInt(9)));
    }
    return HostTensor.of("random", Shape.of(rows, COLUMNS), values);
  }

  /** Each part of a stacked tensor has the codes and scales that it has alone. */
  @ParameterizedTest
  @MethodSource("recipes")
  void partsAreQuantisedAsIfAlone(Recipe recipe) {
    int[] rows = {1, 130, 127, 300, 5};
    List<HostTensor> parts = Arrays.stream(rows).mapToObj(r -> random(r, r)).toList();
    HostTensor stacked =
        new HostTensor(
            "stacked",
            DType.F32,
            Shape.of(Arrays.stream(rows).sum(), COLUMNS),
            parts.stream().flatMap(part -> part.slabs().stream()).toList());
    try (Arena arena = Arena.ofShared()) {
      HostTensor together = quantize(stacked, Arrays.stream(rows).boxed().toList(), recipe, arena);
      float[] found = RecipeGoldenTest.meaning(together);
      int at = 0;
      for (HostTensor part : parts) {
        HostTensor alone = quantize(part, List.of(part.shape().intDim(0)), recipe, arena);
        float[] expected = RecipeGoldenTest.meaning(alone);
        assertArrayEquals(expected, Arrays.copyOfRange(found, at, at + expected.length));
        at += expected.length;
      }
      assertEquals(found.length, at);
    }
  }

  private static HostTensor quantize(
      HostTensor source, List<Integer> partRows, Recipe recipe, Arena arena) {
    return new WeightQuantizer(source, partRows, recipe, When.NEVER).toTensor(arena);
  }

  /** Half a step of the block's scale is the most that rounding changes. */
  @ParameterizedTest
  @MethodSource("recipes")
  void errorIsAtMostHalfAStep(Recipe recipe) {
    HostTensor source = random(257, 3);
    float[] values = dev.gregale.tensor.TensorReader.toFloats(source);
    boolean cutsOff = recipe.equals(new MXFP8BlockScaling(Rounding.OCP));
    try (Arena arena = Arena.ofShared()) {
      HostTensor codes = quantize(source, List.of(257), recipe, arena);
      float[] meaning = RecipeGoldenTest.meaning(codes);
      WeightScaling scaling = recipe.weights(When.NEVER);
      float[] scales = scalesOf(codes).values();
      int[] gridRow = scalesOf(codes).gridRowOfRow();
      for (int i = 0; i < values.length; i++) {
        float scale =
            scales[
                gridRow[i / COLUMNS] * scaling.gridColumns(COLUMNS)
                    + i % COLUMNS / scaling.blockColumns()];
        double step = Math.max(Math.abs(values[i]) / 16, scale * 0x1p-10);
        double error = Math.abs((double) values[i] - meaning[i]);
        assertTrue(
            error <= step * 1.0001 || cutsOff && Math.abs(values[i]) > scale * E4M3.MAX,
            "%s: %s became %s".formatted(recipe, values[i], meaning[i]));
      }
    }
  }

  private static HostScales scalesOf(HostTensor tensor) {
    HostScales scales = tensor.scales();
    if (scales == null) {
      throw new AssertionError("no scales");
    }
    return scales;
  }

  @Test
  void scalesOfSpecialBlocks() {
    Recipe current = new Float8CurrentScaling();
    assertEquals(1, current.scale(0));
    assertEquals(1, current.scale(Float.POSITIVE_INFINITY));
    assertEquals(1, current.scale(448));
    assertEquals(Float.MAX_VALUE, current.scale(Float.MIN_VALUE));
    Recipe powers = new Float8BlockScaling(true);
    assertEquals(1, powers.scale(0));
    assertEquals(0.5f, powers.scale(449));
    assertEquals(1, powers.scale(447));
    assertEquals(0x1p127f, powers.scale(Float.MIN_VALUE));
    Recipe up = new MXFP8BlockScaling(Rounding.UP);
    assertEquals(0x1p127f, up.scale(0));
    assertEquals(0x1p-127f, up.scale(Float.POSITIVE_INFINITY));
    assertEquals(0x1p126f, up.scale(Float.MIN_NORMAL)); // a subnormal scale is rounded up
    assertEquals(0.5f, up.scale(Math.nextUp(448f)));
    Recipe ocp = new MXFP8BlockScaling(Rounding.OCP);
    assertEquals(0x1p127f, ocp.scale(0));
    assertEquals(1, ocp.scale(511));
    assertEquals(0.5f, ocp.scale(512));
    assertEquals(0x1p-127f, ocp.scale(Float.POSITIVE_INFINITY));
  }

  @ParameterizedTest
  @MethodSource("recipes")
  void specialValues(Recipe recipe) {
    float[] values = new float[2 * COLUMNS];
    values[0] = Float.MIN_VALUE;
    values[3] = -Float.MIN_VALUE;
    values[COLUMNS] = Float.NaN;
    values[COLUMNS + 1] = Float.NEGATIVE_INFINITY;
    HostTensor source = HostTensor.of("special", Shape.of(2, COLUMNS), values);
    try (Arena arena = Arena.ofShared()) {
      HostTensor apart = quantize(source, List.of(1, 1), recipe, arena);
      byte[] codes = apart.slabs().getFirst().toArray(ValueLayout.JAVA_BYTE);
      assertEquals(0x7f, codes[COLUMNS]);
      assertEquals((byte) 0xfe, codes[COLUMNS + 1]);
      assertEquals(0, codes[COLUMNS + 2]);
      for (float scale : scalesOf(apart).values()) {
        assertTrue(scale > 0 && scale < Float.POSITIVE_INFINITY, recipe + ": scale " + scale);
      }
    }
  }

  @Test
  void scalesThatDoNotFitAreRefused() {
    WeightScaling scaling = new Float8BlockScaling(true).weights(When.NEVER);
    MemorySegment codes = MemorySegment.ofArray(new byte[200 * 130]);
    Shape shape = Shape.of(200, 130);
    List<MemorySegment> four = List.of(MemorySegment.ofArray(new byte[16]));
    List<MemorySegment> eight = List.of(MemorySegment.ofArray(new byte[32]));
    new HostTensor(
        "fits", DType.F8_E4M3, shape, List.of(codes), new HostScales(scaling, List.of(200), four));
    new HostTensor(
        "parts",
        DType.F8_E4M3,
        shape,
        List.of(codes),
        new HostScales(
            scaling,
            List.of(100, 50, 50),
            List.of(four.getFirst(), four.getFirst().asSlice(0, 8))));
    assertThrows(
        IllegalArgumentException.class,
        () ->
            new HostTensor(
                "two parts",
                DType.F8_E4M3,
                shape,
                List.of(codes),
                new HostScales(scaling, List.of(199, 2), eight)));
    assertThrows(
        IllegalArgumentException.class,
        () ->
            new HostTensor(
                "too many",
                DType.F8_E4M3,
                shape,
                List.of(codes),
                new HostScales(scaling, List.of(200), eight)));
    assertThrows(
        IllegalArgumentException.class,
        () -> new HostTensor("none", DType.F8_E4M3, shape, List.of(codes)));
  }
}
