package dev.gregale.backend;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.gregale.backend.QuantisedReference.Row;
import dev.gregale.tensor.DType;
import dev.gregale.tensor.HostTensor;
import dev.gregale.tensor.Shape;
import java.util.Arrays;
import java.util.List;
import java.util.SplittableRandom;
import java.util.function.Consumer;
import java.util.stream.IntStream;
import java.util.stream.Stream;

/**
 * The same op on two backends with the same random inputs: the oracle and the candidate. Outputs
 * are poisoned with NaN before the op, so that what it forgot to write shows.
 *
 * <p>Where the candidate keeps activations in bf16, both sides are given values that bf16 can hold,
 * and the tolerance counts the roundings to bf16 that the candidate does and the oracle does not.
 */
final class TwoSides {
  /** What rounding to the nearest bf16, of 8 bits, changes a value by at most, relative to it. */
  private static final double BF16_ROUNDING = 0x1p-8;

  final SplittableRandom random;
  private final Device oracle;
  private final Device candidate;

  TwoSides(Device oracle, Device candidate, long seed) {
    this.oracle = oracle;
    this.candidate = candidate;
    this.random = new SplittableRandom(seed);
  }

  /** One tensor on each side. */
  record Pair(Tensor oracle, Tensor candidate) {}

  /** One backend, and which half of a pair is its own. */
  record Side(Device backend, boolean isOracle) {
    Tensor of(Pair pair) {
      return isOracle ? pair.oracle() : pair.candidate();
    }

    Kernels ops() {
      return backend.kernels();
    }
  }

  void run(Consumer<Side> op) {
    op.accept(new Side(oracle, true));
    op.accept(new Side(candidate, false));
  }

  float[] gaussians(Shape shape, double scale) {
    float[] values = new float[Math.toIntExact(shape.numElements())];
    for (int i = 0; i < values.length; i++) {
      values[i] = (float) (scale * random.nextGaussian());
    }
    return values;
  }

  /** Whether the candidate keeps activations in bf16. */
  boolean isBf16() {
    return candidate.activationDType() == DType.BF16;
  }

  /**
   * What an op may be off by, relative to its row's largest value.
   *
   * @param fp32 with fp32 activations
   * @param roundings to bf16 between the op's inputs and its output
   */
  double tolerance(double fp32, double roundings) {
    return isBf16() ? fp32 + roundings * BF16_ROUNDING : fp32;
  }

  /** An activation in the type that the candidate keeps them in, of values that it can hold. */
  Pair activations(Shape shape, float[] values) {
    float[] held = isBf16() ? heldByBf16(values) : values;
    Pair pair =
        new Pair(
            oracle.allocate(DType.F32, shape),
            candidate.allocate(candidate.activationDType(), shape));
    run(side -> side.backend().write(side.of(pair), held, held.length));
    return pair;
  }

  Pair activations(Shape shape) {
    return activations(shape, gaussians(shape, 1));
  }

  Pair poisonedActivations(Shape shape) {
    float[] poison = new float[Math.toIntExact(shape.numElements())];
    Arrays.fill(poison, Float.NaN);
    return activations(shape, poison);
  }

  static float[] heldByBf16(float[] values) {
    float[] held = new float[values.length];
    for (int i = 0; i < values.length; i++) {
      held[i] = Float.intBitsToFloat(Float.floatToIntBits(values[i]) & 0xFFFF0000);
    }
    return held;
  }

  /** The nearest values that bf16 can hold, ties to even. */
  static void roundToBf16(float[] values) {
    for (int i = 0; i < values.length; i++) {
      int bits = Float.floatToRawIntBits(values[i]);
      values[i] = Float.intBitsToFloat(bits + 0x7fff + (bits >>> 16 & 1) & 0xFFFF0000);
    }
  }

  /** Values that bf16 can hold, so that a backend that stores weights in bf16 sees the same. */
  Pair weight(WeightRole role, Shape shape, double scale) {
    return weight(role, shape, heldByBf16(gaussians(shape, scale)));
  }

  Pair weight(WeightRole role, Shape shape, float[] values) {
    return upload(role, HostTensor.of("random", shape, values));
  }

  Pair upload(WeightRole role, HostTensor source) {
    return new Pair(oracle.upload(role, source), candidate.upload(role, source));
  }

  Tensor oracle(WeightRole role, HostTensor source) {
    return oracle.upload(role, source);
  }

  Pair floats(Shape shape, float[] values) {
    Pair pair = new Pair(oracle.allocate(DType.F32, shape), candidate.allocate(DType.F32, shape));
    run(side -> side.backend().write(side.of(pair), values, values.length));
    return pair;
  }

  Pair floats(Shape shape) {
    return floats(shape, gaussians(shape, 1));
  }

  Pair ints(Shape shape, int... values) {
    Pair pair = new Pair(oracle.allocate(DType.I32, shape), candidate.allocate(DType.I32, shape));
    run(side -> side.backend().write(side.of(pair), values, values.length));
    return pair;
  }

  Pair longs(Shape shape, long... values) {
    Pair pair = new Pair(oracle.allocate(DType.I64, shape), candidate.allocate(DType.I64, shape));
    run(side -> side.backend().write(side.of(pair), values, values.length));
    return pair;
  }

  Pair poisoned(Shape shape) {
    float[] poison = new float[Math.toIntExact(shape.numElements())];
    Arrays.fill(poison, Float.NaN);
    return floats(shape, poison);
  }

  Pair poisonedInts(Shape shape) {
    int[] poison = new int[Math.toIntExact(shape.numElements())];
    Arrays.fill(poison, Integer.MIN_VALUE);
    return ints(shape, poison);
  }

  /**
   * The first rows agree within {@code tolerance} of the row's largest value; the rows after them
   * were not touched.
   */
  void assertClose(String what, Pair pair, int rows, double tolerance) {
    int width = Math.toIntExact(pair.oracle().shape().numElements() / pair.oracle().shape().dim(0));
    float[] expected = read(oracle, pair.oracle());
    float[] found = read(candidate, pair.candidate());
    for (int row = 0; row < rows; row++) {
      assertRowClose(what, expected, found, row, width, tolerance);
    }
    for (int at = rows * width; at < found.length; at++) {
      assertEquals(expected[at], found[at], what + " beyond the rows");
    }
  }

  private static void assertRowClose(
      String what, float[] expected, float[] found, int row, int width, double tolerance) {
    double largest = 0;
    for (int i = 0; i < width; i++) {
      largest = Math.max(largest, Math.abs(expected[row * width + i]));
    }
    for (int i = 0; i < width; i++) {
      int at = row * width + i;
      double error = Math.abs((double) expected[at] - found[at]);
      assertTrue(
          expected[at] == found[at] || error <= tolerance * largest,
          "%s[%d, %d]: expected %s, found %s".formatted(what, row, i, expected[at], found[at]));
    }
  }

  /** What both sides were given, the first rows. */
  Stream<Row> rows(Pair pair, int count) {
    float[] values = read(oracle, pair.oracle());
    int width = values.length / pair.oracle().shape().intDim(0);
    return IntStream.range(0, count).mapToObj(row -> Row.exact(values, row * width, width));
  }

  /** Rows as the candidate stores them where it keeps activations. */
  List<Row> stored(List<Row> rows) {
    return isBf16() ? rows.stream().map(Row::inBf16).toList() : rows;
  }

  boolean isWithin(List<Row> expected, Pair pair) {
    return share(expected, read(candidate, pair.candidate())) <= 1;
  }

  /** Each value is as far off as its row says at most; what comes after these was not touched. */
  void assertWithin(String what, List<Row> expected, Pair pair) {
    float[] found = read(candidate, pair.candidate());
    double share = share(expected, found);
    assertTrue(share <= 1, "%s: %.2f times as far off as may be".formatted(what, share));
    for (int at = expected.size() * expected.getFirst().values().length; at < found.length; at++) {
      assertEquals(Float.NaN, found[at], what + " beyond the rows");
    }
  }

  /** The largest error, as a share of what it may be. */
  private static double share(List<Row> expected, float[] found) {
    double largest = 0;
    int at = 0;
    for (Row row : expected) {
      for (int i = 0; i < row.values().length; i++, at++) {
        double error = Math.abs(row.values()[i] - found[at]);
        double share = error == 0 ? 0 : error / row.errors()[i];
        largest = Double.isNaN(share) ? Double.POSITIVE_INFINITY : Math.max(largest, share);
      }
    }
    return largest;
  }

  /** Each value is within the tolerance, or was written by neither side. */
  void assertCloseOrPoisoned(String what, Pair pair, int rows, double tolerance) {
    float[] expected = read(oracle, pair.oracle());
    float[] found = read(candidate, pair.candidate());
    for (int i = 0; i < found.length; i++) {
      boolean bothPoisoned = Float.isNaN(expected[i]) && Float.isNaN(found[i]);
      assertTrue(
          bothPoisoned || Math.abs(expected[i] - found[i]) <= tolerance,
          "%s[%d] of %d rows: expected %s, found %s"
              .formatted(what, i, rows, expected[i], found[i]));
    }
  }

  void assertSameInts(String what, Pair pair, int count) {
    int[] expected = new int[count];
    int[] found = new int[count];
    oracle.read(pair.oracle(), expected, count);
    candidate.read(pair.candidate(), found, count);
    assertEquals(Arrays.toString(expected), Arrays.toString(found), what);
  }

  int[] candidateInts(Pair pair) {
    int[] values = new int[Math.toIntExact(pair.candidate().shape().numElements())];
    candidate.read(pair.candidate(), values, values.length);
    return values;
  }

  /** As the oracle has it: what both sides were given. */
  float[] oracleFloats(Pair pair) {
    return read(oracle, pair.oracle());
  }

  float[] candidateFloats(Pair pair) {
    return read(candidate, pair.candidate());
  }

  private static float[] read(Device backend, Tensor tensor) {
    float[] values = new float[Math.toIntExact(tensor.shape().numElements())];
    backend.read(tensor, values, values.length);
    return values;
  }
}
