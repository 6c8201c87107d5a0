package dev.gregale.backend;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;

import dev.gregale.backend.QuantisedReference.Row;
import dev.gregale.backend.QuantisedWeights.Weight;
import dev.gregale.backend.TwoSides.Pair;
import dev.gregale.quantization.DelayedScaling;
import dev.gregale.quantization.Float8CurrentScaling;
import dev.gregale.quantization.Recipe;
import dev.gregale.tensor.InputScaling;
import dev.gregale.tensor.InputScaling.When;
import dev.gregale.tensor.Shape;
import java.util.Arrays;
import java.util.Collections;
import java.util.List;
import java.util.Objects;
import java.util.stream.IntStream;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;

/**
 * {@link KernelsContractTest}'s ops over quantised weights and an FP8 KV cache. Products are held
 * against {@link QuantisedReference}, the larger ops against the oracle, which multiplies by code *
 * scale in fp32.
 */
class QuantisedKernelsContractTest extends ContractTest {
  private static final int[] ROWS = {1, 2, 7, 70};

  /** Rows of the parts, then inputs: of projections, fused ones among them. */
  private static final int[][] LINEAR = {{5, 3}, {130, 257}, {64, 16, 16, 96}, {256, 64, 64, 384}};

  /** {@link QuantisedReference#codeRounding} of the backends. */
  protected double codeRounding() {
    return 0;
  }

  @ParameterizedTest
  @MethodSource("backends")
  void matmul(Device candidate) {
    for (int[] shape : LINEAR) {
      for (Recipe recipe : QuantisedWeights.recipes()) {
        for (When when : new When[] {When.NEVER, When.ALWAYS}) {
          matmul(candidate, shape, recipe, recipe.weights(when).inputs());
        }
      }
    }
    InputScaling frozen = new DelayedScaling(0.0078f).weights(When.ALWAYS).inputs();
    matmul(candidate, LINEAR[2], QuantisedWeights.recipes().getFirst(), frozen);
  }

  private void matmul(Device candidate, int[] shape, Recipe recipe, InputScaling inputs) {
    int width = shape[shape.length - 1];
    List<Integer> parts = Arrays.stream(shape).limit(shape.length - 1).boxed().toList();
    int outputs = parts.stream().mapToInt(Integer::intValue).sum();
    TwoSides sides = sides(candidate, width);
    Weight weight =
        QuantisedWeights.weight(
            sides, WeightRole.LINEAR, Shape.of(outputs, width), 0.1, parts, recipe, inputs);
    String what = "matmul %s %s %s".formatted(Arrays.toString(shape), recipe, inputs);
    for (int rows : ROWS) {
      Pair x = sides.activations(Shape.of(rows + 1, width));
      Pair out = sides.poisonedActivations(Shape.of(rows + 1, outputs));
      Pair update = sides.poisoned(Shape.of(rows + 1, outputs)); // fp32 on every backend
      sides.run(
          side -> {
            side.ops().matmul(side.of(out), side.of(x), side.of(weight.pair()), rows);
            side.ops().matmul(side.of(update), side.of(x), side.of(weight.pair()), rows);
          });
      List<Row> expected = products(sides, x, weight, rows);
      sides.assertWithin(what + " to fp32", expected, update);
      sides.assertWithin(what, sides.stored(expected), out);
    }
  }

  /** Inputs beyond a fixed scale are counted, by tiles and by rows, and only those. */
  @ParameterizedTest
  @MethodSource("backends")
  void saturatedInputsAreCounted(Device candidate) {
    for (int[] shape : LINEAR) {
      int width = shape[shape.length - 1];
      for (float scale : new float[] {1, 0x1p-9f}) { // the latter's largest is 0.875
        TwoSides sides = sides(candidate, width);
        Weight weight =
            QuantisedWeights.weight(
                sides,
                WeightRole.LINEAR,
                Shape.of(64, width),
                0.1,
                List.of(64),
                QuantisedWeights.recipes().getFirst(),
                new DelayedScaling(scale).weights(When.ALWAYS).inputs());
        Pair x = sides.activations(Shape.of(70, width));
        Pair out = sides.poisoned(Shape.of(70, 64));
        SaturatedInputs before = Objects.requireNonNull(candidate.saturatedInputs());
        sides.run(side -> side.ops().matmul(side.of(out), side.of(x), side.of(weight.pair()), 70));
        sides.candidateFloats(out); // has run
        long cutOff = count(sides.oracleFloats(x), 448 * scale);
        assertEquals(
            new SaturatedInputs(before.attention() + cutOff, before.experts()),
            candidate.saturatedInputs());
      }
    }
  }

  private static long count(float[] values, float above) {
    return IntStream.range(0, values.length).filter(i -> Math.abs(values[i]) > above).count();
  }

  private List<Row> products(TwoSides sides, Pair x, Weight weight, int rows) {
    QuantisedReference reference = new QuantisedReference(sides.isBf16(), codeRounding());
    int outputs = weight.values().length / weight.width();
    return sides.rows(x, rows).map(row -> reference.product(row, weight, 0, outputs)).toList();
  }

  @ParameterizedTest
  @MethodSource("backends")
  void expertFeedForward(Device candidate) {
    for (int[] shape : new int[][] {{8, 2, 192, 192}, {5, 3, 256, 70}, {3, 1, 16, 33}}) {
      for (Recipe recipe : QuantisedWeights.recipes()) {
        experts(candidate, shape, shape[3], shape[2], recipe, When.NEVER);
        experts(candidate, shape, shape[3], shape[2], recipe, When.ALWAYS);
      }
    }
  }

  /** As in checkpoints that are quantised by channel. */
  @ParameterizedTest
  @MethodSource("backends")
  void expertsWithAScaleOfEachRow(Device candidate) {
    Recipe recipe = new Float8CurrentScaling();
    for (int[] shape : new int[][] {{8, 2, 192, 192}, {3, 1, 16, 33}}) {
      experts(candidate, shape, 1, 1, recipe, When.NEVER);
      experts(candidate, shape, 1, 1, recipe, When.ALWAYS);
    }
  }

  /**
   * @param shape experts, experts of a token, hidden, intermediate
   * @param gateUpRows rows of gate and up that share their scales, and of down
   */
  private void experts(
      Device candidate, int[] shape, int gateUpRows, int downRows, Recipe recipe, When when) {
    int numExperts = shape[0];
    int perToken = shape[1];
    int hidden = shape[2];
    int inner = shape[3];
    TwoSides sides = sides(candidate, hidden);
    Weight gateUp =
        QuantisedWeights.weight(
            sides,
            WeightRole.EXPERTS_GATE_UP,
            Shape.of(numExperts, 2L * inner, hidden),
            0.1,
            Collections.nCopies(2 * numExperts * inner / gateUpRows, gateUpRows),
            recipe,
            when);
    Weight down =
        QuantisedWeights.weight(
            sides,
            WeightRole.EXPERTS_DOWN,
            Shape.of(numExperts, hidden, inner),
            0.1,
            Collections.nCopies(numExperts * hidden / downRows, downRows),
            recipe,
            when);
    String what =
        "experts %s by %d rows %s %s".formatted(Arrays.toString(shape), gateUpRows, recipe, when);
    for (int rows : ROWS) {
      int[] ids = new int[rows * perToken];
      Arrays.setAll(ids, i -> (i % perToken + i / perToken) % Math.max(1, numExperts - 1));
      Pair x = sides.activations(Shape.of(rows + 1, hidden));
      Pair expertIds = sides.ints(Shape.of(rows, perToken), ids);
      Pair expertWeights = sides.floats(Shape.of(rows, perToken));
      Pair update = sides.poisoned(Shape.of(rows + 1, hidden));
      sides.run(
          side ->
              side.ops()
                  .expertFeedForward(
                      side.of(update),
                      side.of(x),
                      new ExpertRouting(side.of(expertIds), side.of(expertWeights)),
                      side.of(gateUp.pair()),
                      side.of(down.pair()),
                      rows));
      float[] weights = sides.oracleFloats(expertWeights);
      sides.assertWithin(what, experts(sides, x, gateUp, down, ids, weights), update);
    }
  }

  private List<Row> experts(
      TwoSides sides, Pair x, Weight gateUp, Weight down, int[] ids, float[] weights) {
    QuantisedReference reference = new QuantisedReference(sides.isBf16(), codeRounding());
    int rows = x.oracle().shape().intDim(0) - 1;
    int perToken = ids.length / rows;
    List<Row> inputs = sides.rows(x, rows).toList();
    return IntStream.range(0, rows)
        .mapToObj(
            token -> {
              Row sum = Row.zero(gateUp.width());
              for (int i = token * perToken; i < (token + 1) * perToken; i++) {
                Row answer = reference.expert(inputs.get(token), gateUp, down, ids[i]);
                sum = sum.plus(weights[i], answer);
              }
              return sum;
            })
        .toList();
  }

  /** A row has the same bits alone and in any batch, its inputs quantised or not. */
  @ParameterizedTest
  @MethodSource("backends")
  void rowsDoNotDependOnTheirBatch(Device candidate) {
    for (Recipe recipe : QuantisedWeights.recipes()) {
      for (When when : new When[] {When.NEVER, When.ALWAYS}) {
        TwoSides sides = sides(candidate, 5);
        Pair weight =
            QuantisedWeights.weight(
                    sides, WeightRole.LINEAR, Shape.of(200, 191), 0.1, List.of(200), recipe, when)
                .pair();
        Pair x = sides.activations(Shape.of(70, 191));
        Pair together = sides.poisonedActivations(Shape.of(70, 200));
        Pair alone = sides.poisonedActivations(Shape.of(70, 200));
        sides.run(
            side -> {
              side.ops().matmul(side.of(together), side.of(x), side.of(weight), 70);
              side.ops().matmul(side.of(alone), side.of(x), side.of(weight), 1);
            });
        assertArrayEquals(
            Arrays.copyOf(sides.candidateFloats(together), 200),
            Arrays.copyOf(sides.candidateFloats(alone), 200));
      }
    }
  }

  /** Random codes are as large as random bf16 values, and none is NaN. */
  @ParameterizedTest
  @MethodSource("backends")
  void dummyWeights(Device candidate) {
    float[] identity = new float[256 * 256];
    for (int i = 0; i < 256; i++) {
      identity[i * 257] = 1;
    }
    for (Recipe recipe : QuantisedWeights.recipes()) {
      TwoSides sides = sides(candidate, 7);
      Pair x = sides.activations(Shape.of(256, 256), identity);
      Pair out = sides.poisoned(Shape.of(256, 64));
      sides.run(
          side ->
              side.ops()
                  .matmul(
                      side.of(out),
                      side.of(x),
                      side.backend()
                          .dummy(
                              WeightRole.LINEAR, recipe.weights(When.NEVER), Shape.of(64, 256), 7),
                      256));
      assertRandom(recipe + " on the oracle", sides.oracleFloats(out));
      assertRandom(recipe + " on the candidate", sides.candidateFloats(out));
    }
  }

  private static void assertRandom(String what, float[] values) {
    double sum = 0;
    double squares = 0;
    for (float value : values) {
      sum += value;
      squares += value * value;
    }
    assertEquals(0, sum / values.length, 0.001, what);
    assertEquals(0.02, Math.sqrt(squares / values.length), 0.01, what);
  }

  /** Where a backend may choose, it may choose either, for a whole product. */
  @ParameterizedTest
  @MethodSource("backends")
  void inputsMayBeQuantisedWhereThatIsFaster(Device candidate) {
    for (Recipe recipe : QuantisedWeights.recipes()) {
      TwoSides sides = sides(candidate, 6);
      Shape shape = Shape.of(256, 256);
      Pair x = sides.activations(Shape.of(300, 256));
      Pair out = sides.poisoned(Shape.of(300, 256));
      Weight weight =
          QuantisedWeights.weight(
              sides, WeightRole.LINEAR, shape, 0.1, List.of(256), recipe, When.IF_FASTER);
      sides.run(side -> side.ops().matmul(side.of(out), side.of(x), side.of(weight.pair()), 300));
      List<Row> asTheyAre = products(sides, x, weight, 300);
      List<Row> quantised = products(sides, x, weight.with(When.ALWAYS), 300);
      boolean isQuantised = !sides.isWithin(asTheyAre, out);
      sides.assertWithin(recipe + " if faster", isQuantised ? quantised : asTheyAre, out);
    }
  }
}
