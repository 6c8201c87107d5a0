package dev.gregale.backend;

import static org.junit.jupiter.api.Assertions.assertEquals;

import dev.gregale.backend.TwoSides.Pair;
import dev.gregale.tensor.Shape;
import java.lang.reflect.Method;
import java.util.Arrays;
import java.util.List;
import java.util.Set;
import java.util.stream.Collectors;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;

/**
 * One test per op: every available backend against {@code ReferenceKernels}, over odd sizes. A
 * backend that computes in fp32 must agree to a few units in the last place of the row's largest;
 * one with bf16 activations is granted the roundings that {@link TwoSides#tolerance} counts.
 */
class KernelsContractTest extends ContractTest {
  private static final double TOLERANCE = 3e-6;
  private static final int[] ROWS = {1, 2, 5, 6, 7, 13, 33, 70};
  private static final int[] MANY_ROWS = {1, 2, 5, 6, 7, 13, 33, 70, 256, 300};

  @ParameterizedTest
  @MethodSource("backends")
  void embed(Device candidate) {
    TwoSides sides = sides(candidate, 1);
    Pair table = sides.weight(WeightRole.EMBEDDING, Shape.of(37, 50), 1);
    int[] ids = sides.random.ints(9, 0, 37).toArray();
    BatchFixture batch =
        new BatchFixture(sides, new int[] {9}, new int[] {9}, new int[][] {{0}}, 16);
    Pair out = sides.poisoned(Shape.of(11, 50));
    sides.run(
        side -> {
          side.backend().write(batch.of(side).tokenIds(), ids, 9);
          side.ops().embed(side.of(out), side.of(table), batch.of(side));
        });
    sides.assertClose("embed", out, 9, 0);
  }

  @ParameterizedTest
  @MethodSource("backends")
  void rmsNorm(Device candidate) {
    for (int width : new int[] {8, 50, 192, 333}) {
      for (int rows : ROWS) {
        TwoSides sides = sides(candidate, rows);
        Pair x = sides.floats(Shape.of(rows + 2, width), withExtremes(sides, rows + 2, width));
        Pair weight = sides.weight(WeightRole.NORM, Shape.of(width), 1);
        Pair out = sides.poisonedActivations(Shape.of(rows + 2, width));
        sides.run(
            side -> side.ops().rmsNorm(side.of(out), side.of(x), side.of(weight), 1e-5f, rows));
        sides.assertClose("rmsNorm", out, rows, sides.tolerance(TOLERANCE, 1));
      }
    }
  }

  /** The first row tiny, the last one huge. */
  private static float[] withExtremes(TwoSides sides, int rows, int width) {
    float[] values = sides.gaussians(Shape.of(rows, width), 1);
    for (int i = 0; i < width; i++) {
      values[i] *= 1e-12f;
      values[(rows - 1) * width + i] *= 1e12f;
    }
    return values;
  }

  @ParameterizedTest
  @MethodSource("backends")
  void add(Device candidate) {
    for (int width : new int[] {8, 50, 192}) {
      for (int rows : ROWS) {
        TwoSides sides = sides(candidate, rows);
        Pair x = sides.activations(Shape.of(rows, width));
        Pair update = sides.floats(Shape.of(rows, width)); // what blocks write
        Pair residual = sides.floats(Shape.of(rows + 1, width));
        sides.run(side -> side.ops().add(side.of(residual), side.of(x), rows));
        sides.assertClose("add", residual, rows, 0);
        sides.run(side -> side.ops().add(side.of(residual), side.of(update), rows));
        sides.assertClose("add", residual, rows, 0);
      }
    }
  }

  @ParameterizedTest
  @MethodSource("backends")
  void matmul(Device candidate) {
    for (int[] shape :
        new int[][] {{1, 1}, {5, 3}, {64, 64}, {96, 50}, {130, 257}, {320, 192}, {144, 256}}) {
      for (int rows : shape[0] == 144 ? MANY_ROWS : ROWS) {
        TwoSides sides = sides(candidate, rows);
        Pair x = sides.activations(Shape.of(rows + 1, shape[1]));
        Pair weight = sides.weight(WeightRole.LINEAR, Shape.of(shape[0], shape[1]), 0.1);
        Pair out = sides.poisonedActivations(Shape.of(rows + 1, shape[0]));
        Pair logits = sides.poisoned(Shape.of(rows + 1, shape[0])); // fp32 on every backend
        sides.run(
            side -> {
              side.ops().matmul(side.of(out), side.of(x), side.of(weight), rows);
              side.ops().matmul(side.of(logits), side.of(x), side.of(weight), rows);
            });
        sides.assertClose("matmul " + Arrays.toString(shape), out, rows, sides.tolerance(1e-5, 1));
        sides.assertClose("matmul to fp32 " + Arrays.toString(shape), logits, rows, 1e-5);
      }
    }
  }

  @ParameterizedTest
  @MethodSource("backends")
  void routeTopK(Device candidate) {
    for (int[] shape : new int[][] {{8, 2}, {5, 3}, {1, 1}, {64, 8}, {7, 7}}) {
      int rows = 23;
      TwoSides sides = sides(candidate, shape[0]);
      float[] values = sides.gaussians(Shape.of(rows, shape[0]), 3);
      for (int i = 0; i < shape[0]; i++) {
        values[i] = 0.5f; // all tied: the lower indices win
        values[shape[0] + i] = 1e30f * (i % 2);
      }
      Pair logits = sides.floats(Shape.of(rows, shape[0]), values);
      Pair ids = sides.poisonedInts(Shape.of(rows, shape[1]));
      Pair weights = sides.poisoned(Shape.of(rows, shape[1]));
      sides.run(
          side ->
              side.ops()
                  .routeTopK(
                      new ExpertRouting(side.of(ids), side.of(weights)), side.of(logits), rows));
      sides.assertSameInts("expert ids", ids, rows * shape[1]);
      sides.assertClose("expert weights", weights, rows, TOLERANCE);
    }
  }

  @ParameterizedTest
  @MethodSource("backends")
  void dispatch(Device candidate) {
    TwoSides sides = sides(candidate, 3);
    Pair all = sides.ints(Shape.of(3, 2), 0, 7, 3, 4, -1, 5);
    Pair own = sides.poisonedInts(Shape.of(4, 2));
    sides.run(side -> side.ops().dispatch(side.of(own), side.of(all), 4, 3, 3));
    sides.assertSameInts("own expert ids", own, 6);
  }

  @ParameterizedTest
  @MethodSource("backends")
  void expertFeedForward(Device candidate) {
    for (int[] shape :
        new int[][] {{8, 2, 192, 192}, {5, 3, 256, 70}, {5, 3, 50, 70}, {3, 1, 16, 33}}) {
      for (int rows : ROWS) {
        int hidden = shape[2];
        int intermediate = shape[3];
        TwoSides sides = sides(candidate, rows);
        Pair gateUp =
            sides.weight(
                WeightRole.EXPERTS_GATE_UP, Shape.of(shape[0], 2L * intermediate, hidden), 0.1);
        Pair down =
            sides.weight(WeightRole.EXPERTS_DOWN, Shape.of(shape[0], hidden, intermediate), 0.1);
        Pair x = sides.activations(Shape.of(rows + 1, hidden));
        // The last expert never runs; on odd rows all tokens go to the same experts.
        int[] ids = new int[rows * shape[1]];
        for (int i = 0; i < ids.length; i++) {
          ids[i] = (i % shape[1] + (rows % 2 == 1 ? 0 : i / shape[1])) % Math.max(1, shape[0] - 1);
          ids[i] = i % 7 == 5 ? -1 : ids[i]; // another device's
        }
        Pair expertIds = sides.ints(Shape.of(rows, shape[1]), ids);
        Pair expertWeights = sides.floats(Shape.of(rows, shape[1]));
        Pair out = sides.poisonedActivations(Shape.of(rows + 1, hidden));
        Pair update = sides.poisoned(Shape.of(rows + 1, hidden)); // fp32 on every backend
        for (Pair target : List.of(update, out)) {
          sides.run(
              side ->
                  side.ops()
                      .expertFeedForward(
                          side.of(target),
                          side.of(x),
                          new ExpertRouting(side.of(expertIds), side.of(expertWeights)),
                          side.of(gateUp),
                          side.of(down),
                          rows));
        }
        sides.assertClose(
            "expertFeedForward to fp32 " + Arrays.toString(shape),
            update,
            rows,
            sides.tolerance(1e-5, 2));
        // After SwiGLU, where errors of many columns add up, and in the result.
        sides.assertClose(
            "expertFeedForward " + Arrays.toString(shape), out, rows, sides.tolerance(1e-5, 3));
      }
    }
  }

  /** Rows without a source keep their token; none may leave the vocabulary. */
  @ParameterizedTest
  @MethodSource("backends")
  void gatherTokens(Device candidate) {
    for (int rows : new int[] {1, 5, 300}) {
      TwoSides sides = sides(candidate, rows);
      int[] ids = sides.random.ints(rows + 1, 0, 90).toArray();
      int[] sources = sides.random.ints(rows + 1, -1, 40).toArray();
      int[] drawn = sides.random.ints(40, -3, 93).toArray();
      drawn[7] = Integer.MAX_VALUE;
      drawn[8] = Integer.MIN_VALUE;
      Pair tokenIds = sides.ints(Shape.of(rows + 1), ids);
      Pair from = sides.ints(Shape.of(rows + 1), sources);
      Pair tokens = sides.ints(Shape.of(40), drawn);
      sides.run(
          side ->
              side.ops().gatherTokens(side.of(tokenIds), side.of(from), side.of(tokens), 90, rows));
      sides.assertSameInts("gatherTokens", tokenIds, rows + 1);
    }
  }

  @ParameterizedTest
  @MethodSource("backends")
  void gatherRows(Device candidate) {
    TwoSides sides = sides(candidate, 3);
    Pair x = sides.activations(Shape.of(20, 33));
    Pair ids = sides.ints(Shape.of(4), 19, 0, 0, 7);
    Pair out = sides.poisonedActivations(Shape.of(5, 33));
    sides.run(side -> side.ops().gatherRows(side.of(out), side.of(x), side.of(ids), 4));
    sides.assertClose("gatherRows", out, 4, 0);
  }

  @ParameterizedTest
  @MethodSource("backends")
  void sample(Device candidate) {
    int rows = 40;
    int vocabSize = 500;
    TwoSides sides = sides(candidate, 4);
    SamplingFixture sampling = new SamplingFixture(sides, rows, vocabSize);
    Pair logits =
        sides.floats(Shape.of(rows, vocabSize), sides.gaussians(Shape.of(rows, vocabSize), 3));
    sides.run(
        side ->
            side.ops()
                .sample(sampling.outputs(side), side.of(logits), sampling.inputs(side), rows));
    sampling.assertSame(sides, rows);
    sampling.assertMasked(sides, rows);
  }

  /** A row has the same bits alone and in any batch. */
  @ParameterizedTest
  @MethodSource("backends")
  void matmulRowsDoNotDependOnTheirBatch(Device candidate) {
    TwoSides sides = sides(candidate, 5);
    Pair weight = sides.weight(WeightRole.LINEAR, Shape.of(200, 191), 0.1);
    Pair x = sides.activations(Shape.of(70, 191));
    Pair together = sides.poisonedActivations(Shape.of(70, 200));
    Pair alone = sides.poisonedActivations(Shape.of(70, 200));
    sides.run(
        side -> {
          side.ops().matmul(side.of(together), side.of(x), side.of(weight), 70);
          side.ops().matmul(side.of(alone), side.of(x), side.of(weight), 1);
        });
    float[] expected = Arrays.copyOf(sides.candidateFloats(together), 200);
    float[] found = Arrays.copyOf(sides.candidateFloats(alone), 200);
    assertEquals(Arrays.toString(expected), Arrays.toString(found));
  }

  @Test
  void everyOpHasItsTest() {
    Set<String> tests =
        Stream.of(KernelsContractTest.class, AttentionContractTest.class, BlocksContractTest.class)
            .flatMap(test -> Arrays.stream(test.getDeclaredMethods()))
            .map(Method::getName)
            .collect(Collectors.toSet());
    List<String> missing =
        Arrays.stream(Kernels.class.getDeclaredMethods())
            .map(Method::getName)
            .filter(name -> !tests.contains(name))
            .toList();
    assertEquals(List.of(), missing);
  }
}
