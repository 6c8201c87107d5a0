package dev.gregale.backend;

import dev.gregale.backend.TwoSides.Pair;
import dev.gregale.backend.cpu.CpuBackends;
import dev.gregale.tensor.DType;
import dev.gregale.tensor.Shape;
import java.util.Arrays;

/** Writing the KV cache and attending over it, against the oracle. */
final class AttentionFixture {
  private static final double TOLERANCE = 3e-6;

  private AttentionFixture() {}

  /**
   * Rounds over the same cache: each round's queries see the rounds before.
   *
   * @param dtype what both sides keep keys and values in
   * @param turns whether positions turn queries and keys; where they do not, both sides attend over
   *     exactly the same numbers
   * @param rounds new tokens of each sequence
   */
  static void attention(
      Device candidate,
      DType dtype,
      AttentionShape shape,
      int block,
      boolean turns,
      int[]... rounds) {
    TwoSides sides = new TwoSides(CpuBackends.oracle(), candidate, shape.headDim());
    int numSeqs = rounds[0].length;
    int[] context = new int[numSeqs];
    for (int[] tokens : rounds) {
      Arrays.setAll(context, s -> context[s] + tokens[s]);
    }
    int maxContext = Arrays.stream(context).max().orElseThrow();
    Arrays.fill(context, 0);
    int blocksPerSeq = (maxContext + block - 1) / block;
    int[][] tables = BatchFixture.shuffledBlocks(numSeqs, blocksPerSeq, 7);
    int numBlocks = numSeqs * blocksPerSeq;
    KvLayer expectedKv = CpuBackends.oracle().allocateKv(numBlocks, block, shape, dtype);
    KvLayer kv = candidate.allocateKv(numBlocks, block, shape, dtype);
    Pair rope =
        sides.weight(
            WeightRole.ROPE_TABLE,
            Shape.of(maxContext, shape.headDim()),
            angles(sides, maxContext, shape.headDim(), turns));
    for (int round = 0; round < rounds.length; round++) {
      int[] tokens = rounds[round];
      Arrays.setAll(context, s -> context[s] + tokens[s]);
      BatchFixture batch = new BatchFixture(sides, tokens, context.clone(), tables, block);
      Pair qkv = sides.activations(Shape.of(batch.numTokens, shape.qkvWidth()));
      Pair out =
          sides.poisonedActivations(
              Shape.of(batch.numTokens + 1, (long) shape.numHeads() * shape.headDim()));
      sides.run(
          side -> {
            KvLayer cache = side.isOracle() ? expectedKv : kv;
            ForwardBatch forward = batch.of(side);
            side.ops().ropeAndCacheKv(side.of(qkv), cache, side.of(rope), shape, forward);
            side.ops().pagedAttention(side.of(out), side.of(qkv), cache, shape, forward);
          });
      sides.assertClose(
          "ropeAndCacheKv round " + round, qkv, batch.numTokens, sides.tolerance(TOLERANCE, 1));
      // The result is rounded once, the weights of the softmax in a sum of many; turned queries and
      // keys once each, in the softmax's exponent.
      sides.assertClose(
          "pagedAttention round " + round,
          out,
          batch.numTokens,
          sides.tolerance(1e-5, turns ? 8 : 3));
    }
  }

  /** Cosines and sines of random angles, or of none. */
  static float[] angles(TwoSides sides, int positions, int headDim, boolean turns) {
    float[] table = new float[positions * headDim];
    int half = headDim / 2;
    for (int position = 0; position < positions; position++) {
      for (int i = 0; i < half; i++) {
        double angle = turns ? sides.random.nextDouble(2 * Math.PI) : 0;
        table[position * headDim + i] = (float) Math.cos(angle);
        table[position * headDim + half + i] = (float) Math.sin(angle);
      }
    }
    return table;
  }
}
