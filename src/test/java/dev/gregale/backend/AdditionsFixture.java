package dev.gregale.backend;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;

import dev.gregale.backend.TwoSides.Pair;
import dev.gregale.backend.TwoSides.Side;
import dev.gregale.backend.cpu.CpuBackends;
import dev.gregale.quantization.Recipe;
import dev.gregale.tensor.InputScaling.When;
import dev.gregale.tensor.Shape;
import java.util.Arrays;
import java.util.Collections;
import java.util.List;
import java.util.function.BiConsumer;
import org.jspecify.annotations.Nullable;

/**
 * The ops that add a product to the residual: bit for bit the product, then an addition, on each
 * side; and against the oracle.
 */
final class AdditionsFixture {

  private AdditionsFixture() {}

  /** How a weight is quantised, and whether inputs are. */
  record Codes(Recipe recipe, When when) {}

  /**
   * @param partRows rows of each matrix that has scales of its own
   */
  private static Pair weight(
      TwoSides sides, WeightRole role, Shape shape, List<Integer> partRows, @Nullable Codes codes) {
    return codes == null
        ? sides.weight(role, shape, 0.1)
        : QuantisedWeights.weight(sides, role, shape, 0.1, partRows, codes.recipe(), codes.when())
            .pair();
  }

  /**
   * residual += x * weight^T.
   *
   * @param n columns of the residual
   * @param k columns of x
   * @param codes of the weight; null: not quantised
   */
  static void matmul(Device candidate, @Nullable Codes codes, int rows, int n, int k) {
    TwoSides sides = new TwoSides(CpuBackends.oracle(), candidate, rows + n);
    Pair weight = weight(sides, WeightRole.LINEAR, Shape.of(n, k), List.of(n), codes);
    Pair x = sides.activations(Shape.of(rows + 1, k));
    check(
        "addMatmul of %d rows, [%d, %d] %s".formatted(rows, n, k, codes),
        sides,
        rows,
        n,
        codes == null ? 1e-5 : Double.NaN,
        (side, update) -> side.ops().matmul(update, side.of(x), side.of(weight), rows),
        (side, arrays) ->
            side.ops()
                .addMatmul(arrays.residual(), side.of(x), side.of(weight), arrays.update(), rows));
  }

  /**
   * residual += experts(x).
   *
   * @param shape experts, experts of a token, hidden, intermediate
   * @param codes of the weights; null: not quantised
   */
  static void experts(Device candidate, @Nullable Codes codes, int rows, int... shape) {
    int perToken = shape[1];
    int hidden = shape[2];
    int inner = shape[3];
    TwoSides sides = new TwoSides(CpuBackends.oracle(), candidate, rows + hidden);
    Pair gateUp =
        weight(
            sides,
            WeightRole.EXPERTS_GATE_UP,
            Shape.of(shape[0], 2L * inner, hidden),
            Collections.nCopies(2 * shape[0], inner),
            codes);
    Pair down =
        weight(
            sides,
            WeightRole.EXPERTS_DOWN,
            Shape.of(shape[0], hidden, inner),
            Collections.nCopies(shape[0], hidden),
            codes);
    Pair x = sides.activations(Shape.of(rows + 1, hidden));
    int[] ids = new int[rows * perToken];
    Arrays.setAll(ids, i -> i % 7 == 5 ? -1 : (i + i / perToken) % shape[0]); // -1: nobody's
    Pair expertIds = sides.ints(Shape.of(rows, perToken), ids);
    Pair expertWeights = sides.floats(Shape.of(rows, perToken));
    check(
        "addExpertFeedForward of %d rows, %s %s".formatted(rows, Arrays.toString(shape), codes),
        sides,
        rows,
        hidden,
        codes == null ? sides.tolerance(1e-5, 2) : Double.NaN,
        (side, update) ->
            side.ops()
                .expertFeedForward(
                    update,
                    side.of(x),
                    new ExpertRouting(side.of(expertIds), side.of(expertWeights)),
                    side.of(gateUp),
                    side.of(down),
                    rows),
        (side, arrays) ->
            side.ops()
                .addExpertFeedForward(
                    arrays.residual(),
                    side.of(x),
                    new ExpertRouting(side.of(expertIds), side.of(expertWeights)),
                    side.of(gateUp),
                    side.of(down),
                    arrays.update(),
                    rows));
  }

  /**
   * What an op that adds writes.
   *
   * @param residual fp32 {@code [rows + 1, width]}
   * @param update fp32 {@code [rows + 1, width]}: scratch
   */
  private record Target(Tensor residual, Tensor update) {}

  /**
   * @param tolerance against the oracle; NaN: the product has a test of its own
   * @param product writes the array that it is given
   */
  private static void check(
      String what,
      TwoSides sides,
      int rows,
      int width,
      double tolerance,
      BiConsumer<Side, Tensor> product,
      BiConsumer<Side, Target> fused) {
    Shape shape = Shape.of(rows + 1, width);
    float[] before = sides.gaussians(shape, 1);
    Pair residual = sides.floats(shape, before);
    Pair apart = sides.floats(shape, before);
    Pair update = sides.poisoned(shape);
    sides.run(side -> fused.accept(side, new Target(side.of(residual), side.of(update))));
    sides.run(
        side -> {
          product.accept(side, side.of(update));
          side.ops().add(side.of(apart), side.of(update), rows);
        });
    assertArrayEquals(sides.candidateFloats(apart), sides.candidateFloats(residual), what);
    if (!Double.isNaN(tolerance)) {
      sides.assertClose(what, residual, rows, tolerance);
    }
  }
}
