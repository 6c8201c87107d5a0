package dev.gregale.backend.cpu;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.gregale.backend.Device;
import dev.gregale.backend.ExpertRouting;
import dev.gregale.backend.Tensor;
import dev.gregale.backend.WeightRole;
import dev.gregale.quantization.Float8BlockScaling;
import dev.gregale.quantization.Float8CurrentScaling;
import dev.gregale.quantization.InputQuantizer;
import dev.gregale.quantization.MXFP8BlockScaling;
import dev.gregale.quantization.MXFP8BlockScaling.Rounding;
import dev.gregale.quantization.Recipe;
import dev.gregale.quantization.WeightQuantizer;
import dev.gregale.tensor.DType;
import dev.gregale.tensor.E4M3;
import dev.gregale.tensor.E8M0;
import dev.gregale.tensor.HostTensor;
import dev.gregale.tensor.InputScaling.When;
import dev.gregale.tensor.Shape;
import dev.gregale.tensor.WeightScaling;
import java.lang.foreign.Arena;
import java.util.Arrays;
import java.util.Collections;
import java.util.List;
import java.util.SplittableRandom;
import jdk.incubator.vector.IntVector;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;

/** A product with codes has the bits of the product with the fp32 values that they mean. */
class CodedWeightsTest {
  private static final int EXPERTS = 3;
  private static final int HIDDEN = 200;
  private static final int INNER = 70;
  private static final int ROWS = 41;

  private final SplittableRandom random = new SplittableRandom(11);
  private final Arena arena = Arena.ofShared();
  private final Device backend = CpuBackend.create(2);

  @AfterEach
  void close() {
    backend.close();
    arena.close();
  }

  static List<Recipe> recipes() {
    return List.of(
        new Float8CurrentScaling(),
        new Float8BlockScaling(false),
        new MXFP8BlockScaling(Rounding.UP));
  }

  @Test
  void everyCodeIsWidenedExactly() {
    int[] lanes = new int[VectorMath.LANES];
    float[] found = new float[VectorMath.LANES];
    for (int code = 0; code < 256; code++) {
      if ((code & 0x7f) != 0x7f) {
        Arrays.fill(lanes, code << 24 | 0xabcdef);
        VectorMath.ofE4M3(IntVector.fromArray(VectorMath.INTS, lanes, 0)).intoArray(found, 0);
        assertEquals(E4M3.decode((byte) code), found[0], "code " + code);
      }
      if (code != 255) {
        Arrays.fill(lanes, code);
        VectorMath.ofE8M0(IntVector.fromArray(VectorMath.INTS, lanes, 0)).intoArray(found, 0);
        assertEquals(E8M0.decode((byte) code), found[0], "exponent " + code);
      }
    }
  }

  @ParameterizedTest
  @MethodSource("recipes")
  void experts(Recipe recipe) {
    HostTensor gateUp =
        coded(Shape.of(EXPERTS, 2L * INNER, HIDDEN), 2 * EXPERTS, INNER, recipe, When.NEVER);
    HostTensor down = coded(Shape.of(EXPERTS, HIDDEN, INNER), EXPERTS, HIDDEN, recipe, When.NEVER);
    float[] x = gaussians(ROWS * HIDDEN);
    assertArrayEquals(feedForward(meaning(gateUp), meaning(down), x), feedForward(gateUp, down, x));
  }

  @ParameterizedTest
  @MethodSource("recipes")
  void roundedInputs(Recipe recipe) {
    HostTensor weight = coded(Shape.of(INNER, HIDDEN), 1, INNER, recipe, When.ALWAYS);
    float[] x = gaussians(ROWS * HIDDEN);
    float[] rounded = new float[x.length];
    InputQuantizer quantizer = new InputQuantizer(recipe.weights(When.ALWAYS).inputs());
    for (int row = 0; row < ROWS; row++) {
      quantizer.round(x, row * HIDDEN, HIDDEN, rounded, row * HIDDEN);
    }
    assertArrayEquals(product(meaning(weight), rounded), product(weight, x));
  }

  private HostTensor coded(Shape shape, int parts, int partRows, Recipe recipe, When when) {
    HostTensor source = HostTensor.of("random", shape, gaussians((int) shape.numElements()));
    return new WeightQuantizer(source, Collections.nCopies(parts, partRows), recipe, when)
        .toTensor(arena);
  }

  private static HostTensor meaning(HostTensor coded) {
    CodedWeight weight = new CodedWeight(coded);
    int width = coded.shape().intDim(coded.shape().rank() - 1);
    float[] values = new float[(int) coded.shape().numElements()];
    for (int i = 0; i < values.length; i++) {
      values[i] = weight.at(i / width, i % width);
    }
    return HostTensor.of("meaning", coded.shape(), values);
  }

  private float[] gaussians(int count) {
    float[] values = new float[count];
    for (int i = 0; i < count; i++) {
      values[i] = (float) random.nextGaussian();
    }
    return values;
  }

  private float[] product(HostTensor weight, float[] x) {
    Tensor out = backend.allocate(DType.F32, Shape.of(ROWS, INNER));
    backend
        .kernels()
        .matmul(out, floats(x, HIDDEN), backend.upload(WeightRole.LINEAR, weight), ROWS);
    return read(out);
  }

  private float[] feedForward(HostTensor gateUp, HostTensor down, float[] x) {
    int[] ids = new int[ROWS];
    Arrays.setAll(ids, i -> i * i % EXPERTS);
    Tensor expertIds = backend.allocate(DType.I32, Shape.of(ROWS, 1));
    backend.write(expertIds, ids, ROWS);
    float[] ones = new float[ROWS];
    Arrays.fill(ones, 1);
    Tensor inOut = floats(x, HIDDEN);
    backend
        .kernels()
        .expertFeedForward(
            inOut,
            inOut,
            new ExpertRouting(expertIds, floats(ones, 1)),
            backend.upload(WeightRole.EXPERTS_GATE_UP, gateUp),
            backend.upload(WeightRole.EXPERTS_DOWN, down),
            ROWS);
    return read(inOut);
  }

  private Tensor floats(float[] values, int width) {
    Tensor tensor = backend.allocate(DType.F32, Shape.of(values.length / width, width));
    backend.write(tensor, values, values.length);
    return tensor;
  }

  private float[] read(Tensor tensor) {
    float[] values = new float[(int) tensor.shape().numElements()];
    backend.read(tensor, values, values.length);
    return values;
  }

  /** What a weight takes: a byte for each code, and its scales. */
  @Test
  void aCodeTakesAByte() {
    Shape shape = Shape.of(4, 512, 256);
    for (Recipe recipe : recipes()) {
      WeightScaling scaling = recipe.weights(When.NEVER);
      Tensor dummy = backend.dummy(WeightRole.EXPERTS_DOWN, scaling, shape, 1);
      double perCode = (double) dummy.numBytes() / shape.numElements();
      assertTrue(perCode >= 1 && perCode < 1.04, recipe + " takes " + perCode);
      assertEquals(DType.F8_E4M3, dummy.dtype());
    }
  }

  @Test
  void whatIsNeverQuantisedIsRefused() {
    HostTensor codes = coded(Shape.of(8, 32), 1, 8, new Float8CurrentScaling(), When.NEVER);
    for (WeightRole role : List.of(WeightRole.EMBEDDING, WeightRole.ROUTER, WeightRole.NORM)) {
      assertThrows(IllegalArgumentException.class, () -> backend.upload(role, codes));
    }
  }
}
