package dev.gregale.backend;

import dev.gregale.backend.TwoSides.Pair;
import dev.gregale.backend.cpu.CpuBackends;
import dev.gregale.quantization.Recipe;
import dev.gregale.tensor.DType;
import dev.gregale.tensor.InputScaling.When;
import dev.gregale.tensor.Shape;
import java.util.Arrays;
import java.util.Collections;
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
  private static Pair linear(
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
   * Every token a sequence of its own; the router's choices are no ties.
   *
   * @param recipe of the experts; null: not quantised
   */
  static void experts(
      Device candidate,
      @Nullable Recipe recipe,
      int tokens,
      Experts experts,
      int hidden,
      int inner) {
    int numExperts = experts.all();
    int perToken = experts.perToken();
    int count = experts.count();
    TwoSides sides = new TwoSides(CpuBackends.oracle(), candidate, tokens + hidden);
    float[] router = sides.gaussians(Shape.of(numExperts, hidden), 0.3 / Math.sqrt(hidden));
    Pair routerWeight = sides.weight(WeightRole.ROUTER, Shape.of(numExperts, hidden), bf16(router));
    float[] values = sides.gaussians(Shape.of(tokens + 1, hidden), 0.05);
    for (int t = 0; t < tokens; t++) {
      for (int slot = 0; slot < perToken; slot++) {
        int expert = (t * t + 3 * t / 2 + slot) % Math.max(perToken, numExperts - 1);
        for (int i = 0; i < hidden; i++) {
          values[t * hidden + i] +=
              (float) ((1.6 - 0.4 * slot) * Math.sqrt(hidden) * router[expert * hidden + i]);
        }
      }
    }
    float[] ones = new float[hidden];
    Arrays.fill(ones, 1);
    Pair norm = sides.weight(WeightRole.NORM, Shape.of(hidden), ones);
    Pair gateUp =
        linear(
            sides,
            WeightRole.EXPERTS_GATE_UP,
            Shape.of(count, 2L * inner, hidden),
            hidden,
            recipe,
            Collections.nCopies(2 * count, inner));
    Pair down =
        linear(
            sides,
            WeightRole.EXPERTS_DOWN,
            Shape.of(count, hidden, inner),
            inner,
            recipe,
            Collections.nCopies(count, hidden));
    int[] lengths = new int[tokens];
    Arrays.fill(lengths, 1);
    BatchFixture batch =
        new BatchFixture(sides, lengths, lengths, BatchFixture.shuffledBlocks(tokens, 1, 3), 16);
    Pair residual = sides.floats(Shape.of(tokens + 1, hidden), values);
    BlockScratchPair scratch =
        BlockScratchPair.of(
            sides, tokens, hidden, new AttentionShape(1, 1, 2, 0), numExperts, perToken);
    Pair last = sides.poisonedActivations(Shape.of(1, hidden));
    Pair part = sides.floats(residual.oracle().shape(), new float[(tokens + 1) * hidden]);
    for (Pair out : List.of(part, residual)) {
      sides.run(
          side ->
              side.ops()
                  .expertBlock(
                      side.of(out),
                      side.of(residual),
                      new ExpertWeights(
                          side.of(norm),
                          side.of(routerWeight),
                          side.of(gateUp),
                          side.of(down),
                          experts.first()),
                      EPS,
                      batch.of(side),
                      scratch.of(side, last)));
    }
    sides.assertSameInts("expert ids", scratch.ids(), tokens * perToken);
    // Roundings of the norm (which moves the routing weights too) and after SwiGLU.
    for (Pair out : List.of(part, residual)) {
      sides.assertClose(
          "expertBlock of %d tokens, %s".formatted(tokens, experts),
          out,
          tokens,
          sides.tolerance(3e-5, 5));
    }
  }

  private static float[] bf16(float[] values) {
    for (int i = 0; i < values.length; i++) {
      values[i] = Float.intBitsToFloat(Float.floatToIntBits(values[i]) & 0xFFFF0000);
    }
    return values;
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
