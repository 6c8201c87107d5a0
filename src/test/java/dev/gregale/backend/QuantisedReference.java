package dev.gregale.backend;

import dev.gregale.backend.QuantisedWeights.Weight;
import dev.gregale.quantization.InputQuantizer;
import dev.gregale.tensor.InputScaling;
import dev.gregale.tensor.InputScaling.When;
import java.util.Arrays;

/**
 * Products of quantised weights and quantised inputs in double, over the very values that a backend
 * multiplies, and of each result how far a right backend may be off. What is rounded on the way is
 * rounded here too, so that two things remain: sums that a backend rounds, and values so near the
 * border between two codes that an error before falls to the other one. For the latter every row is
 * quantised at both ends of what it may be; what differs is the error of what follows.
 *
 * @param bf16 whether activations are kept in bf16, else in fp32
 * @param codeRounding of each product of codes by codes, relative to the largest of the 32 that a
 *     matrix unit adds at a time and the sum before; 0 where sums are in fp32
 */
record QuantisedReference(boolean bf16, double codeRounding) {
  /** Of sums in fp32, relative to the largest of a row. */
  private static final double FP32 = 1e-5;

  private static final double BF16_ROUNDING = 0x1p-8;
  private static final double SILU = 1e-6; // fast exponential and quotient, relative
  private static final double STEEPEST_SILU = 1.1;

  private static final int AT_A_TIME = 32; // products that a matrix unit adds

  /** Sums leave the matrix unit after so many columns. */
  private static final int PROMOTION = 128;

  /** Independent errors of either sign, which add up like the steps of a random walk. */
  private static final class Errors {
    private static final double DEVIATIONS = 6;
    private double sum;
    private double variance;

    void add(double error) {
      sum += Math.abs(error);
      variance += error * error;
    }

    /** Some that are equally likely up to a size. */
    void addUpTo(double size, int count) {
      sum += count * size;
      variance += count * size * size / 3;
    }

    double total() {
      return Math.min(sum, DEVIATIONS * Math.sqrt(variance));
    }
  }

  /** A row of values, and what each of them may be off by. */
  record Row(double[] values, double[] errors) {
    static Row exact(float[] from, int at, int width) {
      double[] values = new double[width];
      Arrays.setAll(values, i -> from[at + i]);
      return new Row(values, new double[width]);
    }

    static Row zero(int width) {
      return new Row(new double[width], new double[width]);
    }

    Row plus(double factor, Row other) {
      double[] sum = values.clone();
      double[] off = errors.clone();
      for (int i = 0; i < sum.length; i++) {
        sum[i] += factor * other.values[i];
        off[i] += Math.abs(factor) * other.errors[i];
      }
      return new Row(sum, off);
    }

    /** The same stored in bf16. */
    Row inBf16() {
      double[] off = errors.clone();
      Arrays.setAll(off, i -> off[i] + BF16_ROUNDING * Math.abs(values[i]));
      return new Row(values, off);
    }
  }

  /** x times some of a weight's rows: {@code [n]}. */
  Row product(Row x, Weight weight, int firstRow, int n) {
    Row inputs = inputs(x, weight);
    double unit = multipliesCodes(weight) ? codeRounding : 0;
    Row out = Row.zero(n);
    double largest = 0;
    for (int i = 0; i < n; i++) {
      double[] terms = new double[weight.width()];
      Errors off = new Errors();
      for (int k = 0; k < terms.length; k++) {
        double w = weight.values()[(firstRow + i) * terms.length + k];
        terms[k] = inputs.values[k] * w;
        off.add(inputs.errors[k] * w);
      }
      if (unit > 0) {
        addRoundings(off, terms, unit);
      }
      out.values[i] = Arrays.stream(terms).sum();
      out.errors[i] = off.total();
      largest = Math.max(largest, Math.abs(out.values[i]));
    }
    for (int i = 0; i < n; i++) {
      out.errors[i] += FP32 * largest;
    }
    return out;
  }

  /** Codes by codes: MXFP8's are multiplied as bf16, which holds their values. */
  private static boolean multipliesCodes(Weight weight) {
    return weight.inputs().when() == When.ALWAYS
        && weight.inputs().kind() != InputScaling.Kind.MX_32
        && !weight.isInBf16();
  }

  /** What is cut off all that the matrix unit adds up. */
  private static void addRoundings(Errors off, double[] terms, double unit) {
    for (int start = 0; start < terms.length; start += PROMOTION) {
      double sum = 0;
      for (int group = 0; group < PROMOTION / AT_A_TIME; group++) {
        double largest = Math.abs(sum);
        for (int k = start; k < Math.min(terms.length, start + PROMOTION); k++) {
          if (additionOf(k - start) == group) {
            largest = Math.max(largest, Math.abs(terms[k]));
            sum += terms[k];
          }
        }
        off.addUpTo(unit * largest, AT_A_TIME + 1);
      }
    }
  }

  /** Columns are not added in their order: fp8_codes.cuh. */
  private static int additionOf(int column) {
    return column / 64 * 2 + column / 2 % 4 / 2;
  }

  /** What a product with the weight multiplies. */
  private Row inputs(Row x, Weight weight) {
    int width = x.values.length;
    float[][] ends = {new float[width], new float[width], new float[width]};
    for (int i = 0; i < width; i++) {
      double magnitude = Math.abs(x.values[i]);
      double sign = Math.signum(x.values[i]);
      ends[0][i] = (float) x.values[i];
      ends[1][i] = (float) (sign * (magnitude - x.errors[i]));
      ends[2][i] = (float) (sign * (magnitude + x.errors[i]));
    }
    if (bf16) {
      Arrays.stream(ends).forEach(TwoSides::roundToBf16);
    }
    Row inputs = Row.exact(quantised(ends[0], weight), 0, width);
    if (!Arrays.equals(ends[1], ends[2])) {
      int block = block(weight.inputs(), width);
      widen(inputs, quantised(ends[1], weight));
      widen(inputs, quantised(ends[2], weight));
      widen(inputs, quantised(withLargestOf(ends[1], ends[2], block), weight));
      widen(inputs, quantised(withLargestOf(ends[2], ends[1], block), weight));
    }
    return inputs;
  }

  private static void widen(Row row, float[] other) {
    for (int i = 0; i < other.length; i++) {
      row.errors[i] = Math.max(row.errors[i], Math.abs(other[i] - row.values[i]));
    }
  }

  private static int block(InputScaling inputs, int width) {
    return switch (inputs.kind()) {
      case PER_ROW, STATIC -> width;
      case BLOCK_128, BLOCK_128_POW2 -> 128;
      case MX_32 -> 32;
    };
  }

  /** The values, with that largest magnitude in every block that the other row has there. */
  private static float[] withLargestOf(float[] values, float[] other, int block) {
    float[] mixed = values.clone();
    for (int start = 0; start < mixed.length; start += block) {
      int end = Math.min(mixed.length, start + block);
      int at = start;
      for (int i = start; i < end; i++) {
        at = Math.abs(other[i]) > Math.abs(other[at]) ? i : at;
      }
      float largest = Math.abs(other[at]);
      for (int i = start; i < end; i++) {
        mixed[i] = Math.clamp(mixed[i], -largest, largest);
      }
      mixed[at] = other[at];
    }
    return mixed;
  }

  private static float[] quantised(float[] x, Weight weight) {
    float[] out = x.clone();
    if (weight.inputs().when() == When.ALWAYS) {
      new InputQuantizer(weight.inputs()).round(x, 0, x.length, out, 0);
      if (weight.isInBf16()) {
        TwoSides.roundToBf16(out);
      }
    }
    return out;
  }

  /** What an expert gives for a token. */
  Row expert(Row x, Weight gateUp, Weight down, int expert) {
    int inner = down.width();
    int hidden = gateUp.width();
    Row both = product(x, gateUp, expert * 2 * inner, 2 * inner);
    Row activated = Row.zero(inner);
    for (int i = 0; i < inner; i++) {
      double gate = both.values[i];
      double up = both.values[inner + i];
      double gateOff = STEEPEST_SILU * both.errors[i];
      double upOff = both.errors[inner + i];
      double silu = gate / (1 + Math.exp(-gate));
      activated.values[i] = silu * up;
      activated.errors[i] =
          gateOff * Math.abs(up)
              + Math.abs(silu) * upOff
              + gateOff * upOff
              + SILU * Math.abs(silu * up);
    }
    return product(activated, down, expert * hidden, hidden);
  }
}
