package dev.gregale.backend;

import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.gregale.backend.QuantisedReference.Row;
import dev.gregale.backend.QuantisedWeights.Weight;
import dev.gregale.backend.cpu.CpuBackends;
import dev.gregale.quantization.Float8BlockScaling;
import dev.gregale.quantization.Float8CurrentScaling;
import dev.gregale.quantization.InputQuantizer;
import dev.gregale.quantization.Recipe;
import dev.gregale.tensor.InputScaling.When;
import dev.gregale.tensor.Shape;
import java.util.Arrays;
import java.util.Collections;
import java.util.List;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;

/** The reference takes what a matrix unit gives that keeps 13 bits, and little more. */
class QuantisedReferenceTest {
  private static final int BITS = 13;
  private static final int WIDTH = 256;
  private static final int INNER = 70;
  private final TwoSides sides = new TwoSides(CpuBackends.oracle(), CpuBackends.oracle(), 3);
  private final QuantisedReference reference = new QuantisedReference(true, 0x1p-13);

  static List<Recipe> recipes() {
    return List.of(
        new Float8CurrentScaling(), new Float8BlockScaling(true), new Float8BlockScaling(false));
  }

  private Weight weight(WeightRole role, Shape shape, int parts, Recipe recipe) {
    int rows = Math.toIntExact(shape.numElements() / shape.dim(shape.rank() - 1));
    return QuantisedWeights.weight(
        sides, role, shape, 0.1, Collections.nCopies(parts, rows / parts), recipe, When.ALWAYS);
  }

  private float[] inputs() {
    float[] x = sides.gaussians(Shape.of(WIDTH), 1);
    TwoSides.roundToBf16(x);
    return x;
  }

  @ParameterizedTest
  @MethodSource("recipes")
  void products(Recipe recipe) {
    Weight weight = weight(WeightRole.LINEAR, Shape.of(128, WIDTH), 1, recipe);
    for (int i = 0; i < 50; i++) {
      float[] x = inputs();
      Row expected = reference.product(Row.exact(x, 0, WIDTH), weight, 0, 128);
      assertTrue(share(expected, product(quantised(x, weight), weight, 0, 128)) <= 1);
      // Four codes of 256 one too low: enough to be seen.
      float[] lower = quantised(x, weight);
      for (int k = 0; k < 4; k++) {
        lower[k] *= 0.9f;
      }
      assertTrue(share(expected, product(lower, weight, 0, 128)) > 1);
      assertTrue(share(expected, product(x, weight, 0, 128)) > 1, "inputs as they were");
    }
  }

  @ParameterizedTest
  @MethodSource("recipes")
  void experts(Recipe recipe) {
    Weight gateUp = weight(WeightRole.EXPERTS_GATE_UP, Shape.of(1, 2L * INNER, WIDTH), 2, recipe);
    Weight down = weight(WeightRole.EXPERTS_DOWN, Shape.of(1, WIDTH, INNER), 1, recipe);
    for (int i = 0; i < 50; i++) {
      float[] x = inputs();
      Row expected = reference.expert(Row.exact(x, 0, WIDTH), gateUp, down, 0);
      float[] both = product(quantised(x, gateUp), gateUp, 0, 2 * INNER);
      float[] activated = new float[INNER];
      for (int j = 0; j < INNER; j++) {
        activated[j] = (float) (both[j] / (1 + Math.exp(-both[j])) * both[INNER + j]);
      }
      TwoSides.roundToBf16(activated);
      float[] answer = product(quantised(activated, down), down, 0, WIDTH);
      assertTrue(share(expected, answer) <= 1);
      for (int j = 0; j < WIDTH; j++) {
        answer[j] *= 0.5f;
      }
      assertTrue(share(expected, answer) > 1);
    }
  }

  private static float[] quantised(float[] x, Weight weight) {
    float[] out = x.clone();
    new InputQuantizer(weight.inputs()).round(x, 0, x.length, out, 0);
    return out;
  }

  /** Each addition of 32 cuts its terms off at the largest one's 13th bit behind the point. */
  private static float[] product(float[] x, Weight weight, int firstRow, int n) {
    float[] out = new float[n];
    for (int i = 0; i < n; i++) {
      double total = 0;
      double sum = 0;
      for (int k = 0; k < x.length; k += 32) {
        sum = k % 128 == 0 ? 0 : sum;
        double[] terms = new double[Math.min(33, x.length - k + 1)];
        for (int j = 0; j + 1 < terms.length; j++) {
          terms[j] = (double) x[k + j] * weight.values()[(firstRow + i) * x.length + k + j];
        }
        terms[terms.length - 1] = sum;
        sum = cutOff(terms);
        total += (k + 32) % 128 == 0 || k + 32 >= x.length ? sum : 0;
      }
      out[i] = (float) total;
    }
    return out;
  }

  private static double cutOff(double[] terms) {
    double largest = Arrays.stream(terms).map(Math::abs).max().orElseThrow();
    double unit = Math.scalb(1.0, Math.getExponent(largest) - BITS);
    return largest == 0 ? 0 : Arrays.stream(terms).map(term -> unit * (long) (term / unit)).sum();
  }

  private static double share(Row expected, float[] found) {
    double largest = 0;
    for (int i = 0; i < found.length; i++) {
      double error = Math.abs(expected.values()[i] - found[i]);
      largest = Math.max(largest, error / expected.errors()[i]);
    }
    return largest;
  }
}
