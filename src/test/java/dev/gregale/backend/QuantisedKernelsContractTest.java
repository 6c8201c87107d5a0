package dev.gregale.backend;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;

import dev.gregale.backend.TwoSides.Pair;
import dev.gregale.backend.cpu.CpuBackends;
import dev.gregale.quantization.DelayedScaling;
import dev.gregale.quantization.Float8BlockScaling;
import dev.gregale.quantization.Recipe;
import dev.gregale.tensor.DType;
import dev.gregale.tensor.InputScaling;
import dev.gregale.tensor.InputScaling.When;
import dev.gregale.tensor.Shape;
import java.util.Arrays;
import java.util.Collections;
import java.util.List;
import java.util.stream.Stream;
import org.junit.jupiter.api.TestInstance;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;

/**
 * {@link KernelsContractTest}'s ops over quantised weights and an FP8 KV cache: the oracle
 * multiplies by code * scale in fp32, and rounds inputs first where the weight says ALWAYS.
 */
@TestInstance(TestInstance.Lifecycle.PER_CLASS)
class QuantisedKernelsContractTest {
  private static final int[] ROWS = {1, 2, 7, 70};

  /** Rows of the parts, then inputs: of projections, fused ones among them. */
  private static final int[][] LINEAR = {{5, 3}, {130, 257}, {64, 16, 16, 96}, {256, 64, 64, 384}};

  protected Stream<Backend> backends() {
    return CpuBackends.candidates().stream();
  }

  /** What a product in fp32 may be off by, relative to its row's largest value. */
  protected double matmulTolerance(int outputs, int inputs, When when) {
    return 1e-5;
  }

  /** What codes that fall to the next one may change in experts' answers. */
  protected double flippedCodes() {
    return 0.01;
  }

  private static TwoSides sides(Backend candidate, long seed) {
    return new TwoSides(CpuBackends.oracle(), candidate, seed);
  }

  @ParameterizedTest
  @MethodSource("backends")
  void matmul(Backend candidate) {
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

  private void matmul(Backend candidate, int[] shape, Recipe recipe, InputScaling inputs) {
    int width = shape[shape.length - 1];
    List<Integer> parts = Arrays.stream(shape).limit(shape.length - 1).boxed().toList();
    int outputs = parts.stream().mapToInt(Integer::intValue).sum();
    TwoSides sides = sides(candidate, width);
    Pair weight =
        QuantisedWeights.weight(
            sides, WeightRole.LINEAR, Shape.of(outputs, width), 0.1, parts, recipe, inputs);
    for (int rows : ROWS) {
      Pair x = sides.activations(Shape.of(rows + 1, width));
      Pair out = sides.poisonedActivations(Shape.of(rows + 1, outputs));
      Pair update = sides.poisoned(Shape.of(rows + 1, outputs)); // fp32 on every backend
      sides.run(
          side -> {
            side.ops().matmul(side.of(out), side.of(x), side.of(weight), rows);
            side.ops().matmul(side.of(update), side.of(x), side.of(weight), rows);
          });
      String what = "matmul %s %s %s".formatted(Arrays.toString(shape), recipe, inputs);
      double fp32 = matmulTolerance(outputs, width, inputs.when());
      sides.assertClose(what, out, rows, sides.tolerance(fp32, 1));
      sides.assertClose(what + " to fp32", update, rows, fp32);
    }
  }

  @ParameterizedTest
  @MethodSource("backends")
  void expertFeedForward(Backend candidate) {
    for (int[] shape : new int[][] {{8, 2, 192, 192}, {5, 3, 256, 70}, {3, 1, 16, 33}}) {
      for (Recipe recipe : QuantisedWeights.recipes()) {
        experts(candidate, shape, recipe, When.NEVER);
        experts(candidate, shape, recipe, When.ALWAYS);
      }
    }
  }

  private void experts(Backend candidate, int[] shape, Recipe recipe, When when) {
    int numExperts = shape[0];
    int perToken = shape[1];
    int hidden = shape[2];
    int inner = shape[3];
    TwoSides sides = sides(candidate, hidden);
    Pair gateUp =
        QuantisedWeights.weight(
            sides,
            WeightRole.EXPERTS_GATE_UP,
            Shape.of(numExperts, 2L * inner, hidden),
            0.1,
            Collections.nCopies(2 * numExperts, inner),
            recipe,
            when);
    Pair down =
        QuantisedWeights.weight(
            sides,
            WeightRole.EXPERTS_DOWN,
            Shape.of(numExperts, hidden, inner),
            0.1,
            Collections.nCopies(numExperts, hidden),
            recipe,
            when);
    // What goes into down is rounded to codes; where the two sides differ in the last bits before,
    // a value may fall to the next code, a sixteenth away.
    double fp32 = when == When.ALWAYS ? flippedCodes() : 1e-5;
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
                      side.of(gateUp),
                      side.of(down),
                      rows));
      String what = "experts %s %s %s".formatted(Arrays.toString(shape), recipe, when);
      sides.assertClose(what, update, rows, sides.tolerance(fp32, 3));
    }
  }

  /** The larger ops, which a backend may compute by kernels of their own. */
  @ParameterizedTest
  @MethodSource("backends")
  void attentionBlock(Backend candidate) {
    AttentionShape large = new AttentionShape(4, 2, 128, 0);
    AttentionShape odd = new AttentionShape(3, 1, 10, 0);
    for (Recipe recipe : QuantisedWeights.recipes()) {
      DType cache = candidate.kvCacheDType();
      BlocksFixture.attention(
          candidate, recipe, cache, large, 256, 64, new int[] {70}, ones(1), new int[] {3});
      for (int seqs : new int[] {8, 9}) {
        int[] prompts = new int[seqs];
        Arrays.setAll(prompts, s -> 1 + 7 * s % 30);
        BlocksFixture.attention(candidate, recipe, cache, large, 256, 16, prompts, ones(seqs));
      }
      BlocksFixture.attention(candidate, recipe, cache, odd, 50, 5, new int[] {7, 2}, ones(2));
    }
  }

  @ParameterizedTest
  @MethodSource("backends")
  void expertBlock(Backend candidate) {
    for (Recipe recipe : QuantisedWeights.recipes()) {
      for (int tokens : new int[] {1, 8, 9, 33, 200}) {
        BlocksFixture.experts(candidate, recipe, tokens, 8, 2, 256, 192);
      }
      BlocksFixture.experts(candidate, recipe, 6, 4, 2, 50, 33);
    }
  }

  /** Positions turn nothing, so that both sides round the same keys. */
  @ParameterizedTest
  @MethodSource("backends")
  void pagedAttention(Backend candidate) {
    if (!candidate.kvCacheDTypes().contains(DType.F8_E4M3)) {
      return;
    }
    int[] mixed = {1, 1, 40, 5};
    kv(candidate, new AttentionShape(6, 2, 32, 0), 16, mixed, mixed, ones(4));
    kv(candidate, new AttentionShape(5, 5, 10, 0), 3, new int[] {7, 1}, ones(2));
    kv(candidate, new AttentionShape(4, 1, 66, 9), 8, new int[] {25, 2, 1}, ones(3));
    kv(candidate, new AttentionShape(8, 2, 128, 0), 64, new int[] {150, 7}, ones(2), ones(2));
  }

  private static void kv(Backend candidate, AttentionShape shape, int blockSize, int[]... rounds) {
    AttentionFixture.attention(candidate, DType.F8_E4M3, shape, blockSize, false, rounds);
  }

  private static int[] ones(int count) {
    int[] ones = new int[count];
    Arrays.fill(ones, 1);
    return ones;
  }

  /** A row has the same bits alone and in any batch, its inputs quantised or not. */
  @ParameterizedTest
  @MethodSource("backends")
  void rowsDoNotDependOnTheirBatch(Backend candidate) {
    for (Recipe recipe : QuantisedWeights.recipes()) {
      for (When when : new When[] {When.NEVER, When.ALWAYS}) {
        TwoSides sides = sides(candidate, 5);
        Pair weight =
            QuantisedWeights.weight(
                sides, WeightRole.LINEAR, Shape.of(200, 191), 0.1, List.of(200), recipe, when);
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

  /** Where a backend may choose, it may choose either. */
  @ParameterizedTest
  @MethodSource("backends")
  void inputsMayBeQuantisedWhereThatIsFaster(Backend candidate) {
    Recipe recipe = new Float8BlockScaling(true);
    TwoSides sides = sides(candidate, 6);
    Shape shape = Shape.of(256, 256);
    Pair x = sides.activations(Shape.of(300, 256));
    Pair out = sides.poisoned(Shape.of(300, 256));
    Pair weight =
        QuantisedWeights.weight(
            sides, WeightRole.LINEAR, shape, 0.1, List.of(256), recipe, When.IF_FASTER);
    sides.run(side -> side.ops().matmul(side.of(out), side.of(x), side.of(weight), 300));
    // Codes are off by a 32nd at most; this is four and a half standard deviations of their sum.
    sides.assertClose("matmul " + When.IF_FASTER, out, 300, 0.1);
  }
}
