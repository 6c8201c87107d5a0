package dev.gregale.backend;

import dev.gregale.backend.TwoSides.Pair;
import dev.gregale.backend.cpu.CpuBackends;
import dev.gregale.quantization.Recipe;
import dev.gregale.tensor.DType;
import dev.gregale.tensor.InputScaling.When;
import dev.gregale.tensor.Shape;
import java.util.Arrays;
import java.util.List;
import org.jspecify.annotations.Nullable;

/** The larger ops of the contract, each against the oracle's composition of the smaller ones. */
final class BlocksFixture {
  private static final float EPS = 1e-5f;

  private BlocksFixture() {}

  private static Pair gain(TwoSides sides, int width) {
    return sides.weight(WeightRole.NORM, Shape.of(width), 1);
  }

  /**
   * Of standard deviation 1 / sqrt(k), so that a product is as large as what went in.
   *
   * @param recipe null: not quantised
   * @param partRows rows of each matrix that has scales of its own
   */
  static Pair linear(
      TwoSides sides,
      WeightRole role,
      Shape shape,
      int k,
      @Nullable Recipe recipe,
      List<Integer> partRows) {
    return recipe == null
        ? sides.weight(role, shape, 1 / Math.sqrt(k))
        : QuantisedWeights.weight(
                sides, role, shape, 1 / Math.sqrt(k), partRows, recipe, When.NEVER)
            .pair();
  }

  /**
   * Rounds over the same cache.
   *
   * @param rounds new tokens of each sequence
   */
  static void attention(
      Device candidate, AttentionShape shape, int hidden, int blockSize, int[]... rounds) {
    attention(candidate, null, candidate.kvCacheDType(), shape, hidden, blockSize, rounds);
  }

  /**
   * Rounds over the same cache.
   *
   * @param recipe of the projections; null: not quantised
   * @param cache what both sides keep keys and values in
   * @param rounds new tokens of each sequence
   */
  static void attention(
      Device candidate,
      @Nullable Recipe recipe,
      DType cache,
      AttentionShape shape,
      int hidden,
      int blockSize,
      int[]... rounds) {
    TwoSides sides = new TwoSides(CpuBackends.oracle(), candidate, hidden + rounds[0].length);
    int numSeqs = rounds[0].length;
    int[] context = new int[numSeqs];
    for (int[] tokens : rounds) {
      Arrays.setAll(context, s -> context[s] + tokens[s]);
    }
    int longest = Arrays.stream(context).max().orElseThrow();
    Arrays.fill(context, 0);
    int blocksPerSeq = Math.ceilDiv(longest, blockSize);
    int[][] tables = BatchFixture.shuffledBlocks(numSeqs, blocksPerSeq, 7);
    int blocks = numSeqs * blocksPerSeq;
    KvLayer oracleKv = CpuBackends.oracle().allocateKv(blocks, blockSize, shape, cache);
    KvLayer kv = candidate.allocateKv(blocks, blockSize, shape, cache);
    int width = shape.numHeads() * shape.headDim();
    Pair norm = gain(sides, hidden);
    int kvWidth = shape.numKvHeads() * shape.headDim();
    Pair qkv =
        linear(
            sides,
            WeightRole.QKV,
            Shape.of(shape.qkvWidth(), hidden),
            hidden,
            recipe,
            List.of(width, kvWidth, kvWidth));
    Pair output =
        linear(
            sides,
            WeightRole.ATTENTION_OUTPUT,
            Shape.of(hidden, width),
            width,
            recipe,
            List.of(hidden));
    Pair rope =
        sides.weight(
            WeightRole.ROPE_TABLE,
            Shape.of(longest, shape.headDim()),
            AttentionFixture.angles(sides, longest, shape.headDim(), true));
    for (int[] tokens : rounds) {
      Arrays.setAll(context, s -> context[s] + tokens[s]);
      BatchFixture batch = new BatchFixture(sides, tokens, context.clone(), tables, blockSize);
      Pair residual = sides.floats(Shape.of(batch.numTokens + 1, hidden));
      BlockScratchPair scratch = BlockScratchPair.of(sides, batch.numTokens, hidden, shape, 1, 1);
      Pair last = sides.poisonedActivations(Shape.of(1, hidden));
      Pair part =
          sides.floats(residual.oracle().shape(), new float[(batch.numTokens + 1) * hidden]);
      for (Pair out : List.of(part, residual)) { // keys and values are written twice, alike
        sides.run(
            side ->
                side.ops()
                    .attentionBlock(
                        side.of(out),
                        side.of(residual),
                        new AttentionWeights(side.of(norm), side.of(qkv), side.of(output)),
                        EPS,
                        side.isOracle() ? oracleKv : kv,
                        side.of(rope),
                        shape,
                        batch.of(side),
                        scratch.of(side, last)));
      }
      // Roundings of the norm, of queries, keys and values, twice of the rotated, of the softmax's
      // weights and of the context: the later of them in sums of many.
      for (Pair out : List.of(part, residual)) {
        sides.assertClose(
            "attentionBlock of " + Arrays.toString(tokens),
            out,
            batch.numTokens,
            sides.tolerance(3e-5, 8));
      }
    }
  }

  /**
   * Experts of a layer.
   *
   * @param all E
   * @param first of those whose weights are there
   * @param count of those
   * @param perToken K
   */
  record Experts(int all, int first, int count, int perToken) {

    static Experts all(int all, int perToken) {
      return new Experts(all, 0, all, perToken);
    }
  }

  /**
   * @param recipe of the experts; null: not quantised
   */
  static void experts(
      Device candidate,
      @Nullable Recipe recipe,
      int tokens,
      Experts experts,
      int hidden,
      int inner) {
    ExpertInputs in = ExpertInputs.of(candidate, recipe, tokens, experts, hidden, inner);
    TwoSides sides = in.sides();
    Pair part = sides.floats(in.residual().oracle().shape(), new float[(tokens + 1) * hidden]);
    for (Pair out : List.of(part, in.residual())) {
      sides.run(
          side ->
              side.ops()
                  .expertBlock(
                      side.of(out),
                      side.of(in.residual()),
                      in.weights(side),
                      EPS,
                      in.batch().of(side),
                      in.scratch(side)));
    }
    sides.assertSameInts("expert ids", in.scratch().ids(), tokens * experts.perToken());
    // Roundings of the norm (which moves the routing weights too) and after SwiGLU.
    for (Pair out : List.of(part, in.residual())) {
      sides.assertClose(
          "expertBlock of %d tokens, %s".formatted(tokens, experts),
          out,
          tokens,
          sides.tolerance(3e-5, 5));
    }
  }

  static void route(Device candidate, int tokens, Experts experts, int hidden) {
    ExpertInputs in = ExpertInputs.of(candidate, null, tokens, experts, hidden, 64);
    TwoSides sides = in.sides();
    sides.run(
        side ->
            side.ops()
                .route(
                    side.of(in.residual()),
                    in.weights(side),
                    EPS,
                    in.batch().of(side),
                    in.scratch(side)));
    BlockScratchPair scratch = in.scratch();
    String what = "route of %d tokens, %s".formatted(tokens, experts);
    sides.assertClose(what + ", hidden", scratch.hidden(), tokens, sides.tolerance(3e-6, 1));
    sides.assertSameInts(what + ", ids", scratch.ids(), tokens * experts.perToken());
    sides.assertClose(what + ", weights", scratch.weights(), tokens, sides.tolerance(3e-5, 2));
  }

  /** Logits of some rows of a prefill, in any order. */
  static void logits(Device candidate, int rows, int hidden, int vocabSize) {
    TwoSides sides = new TwoSides(CpuBackends.oracle(), candidate, rows);
    int tokens = rows + 3;
    Pair residual = sides.floats(Shape.of(tokens, hidden));
    Pair norm = gain(sides, hidden);
    Pair lmHead =
        linear(sides, WeightRole.LINEAR, Shape.of(vocabSize, hidden), hidden, null, List.of());
    Pair logits = sides.poisoned(Shape.of(rows + 1, vocabSize));
    Pair last = sides.poisonedActivations(Shape.of(rows, hidden));
    int[] ids = new int[rows];
    Arrays.setAll(ids, r -> (r * 7 + 2) % tokens);
    BatchFixture batch =
        new BatchFixture(
            sides, new int[] {tokens}, new int[] {tokens}, new int[][] {new int[tokens]}, 16);
    Pair logitRows = sides.ints(Shape.of(rows), ids);
    BlockScratchPair scratch =
        BlockScratchPair.of(sides, tokens, hidden, new AttentionShape(1, 1, 2, 0), 1, 1);
    sides.run(
        side ->
            side.ops()
                .computeLogits(
                    side.of(logits),
                    side.of(residual),
                    side.of(norm),
                    EPS,
                    side.of(lmHead),
                    batch.of(side, side.of(logitRows), rows),
                    scratch.of(side, last)));
    sides.assertClose("computeLogits of " + rows, logits, rows, sides.tolerance(1e-5, 2));
  }
}
