package dev.gregale.backend;

import dev.gregale.backend.TwoSides.Pair;
import dev.gregale.backend.TwoSides.Side;
import dev.gregale.tensor.Shape;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collections;
import java.util.List;
import java.util.Random;

/** A ragged batch over shuffled blocks, on both sides. */
final class BatchFixture {
  final int[] newTokens;
  final int numTokens;
  private final Pair tokenIds;
  private final Pair positions;
  private final Pair slotMapping;
  private final Pair cuSeqLens;
  private final Pair contextLens;
  private final Pair blockTables;
  private final Pair logitRows;

  /**
   * @param newTokens tokens of each sequence in this batch
   * @param contextLens tokens of each sequence including them
   * @param blockTables {@code [S][blocks]}
   */
  BatchFixture(
      TwoSides sides, int[] newTokens, int[] contextLens, int[][] blockTables, int blockSize) {
    this.newTokens = newTokens;
    int numSeqs = newTokens.length;
    int total = 0;
    int[] cu = new int[numSeqs + 1];
    for (int s = 0; s < numSeqs; s++) {
      total += newTokens[s];
      cu[s + 1] = total;
    }
    numTokens = total;
    int[] pos = new int[total];
    int[] slots = new int[total];
    int maxBlocks = blockTables[0].length;
    int[] tables = new int[numSeqs * maxBlocks];
    for (int s = 0; s < numSeqs; s++) {
      System.arraycopy(blockTables[s], 0, tables, s * maxBlocks, maxBlocks);
      for (int i = 0; i < newTokens[s]; i++) {
        int position = contextLens[s] - newTokens[s] + i;
        pos[cu[s] + i] = position;
        slots[cu[s] + i] = blockTables[s][position / blockSize] * blockSize + position % blockSize;
      }
    }
    this.tokenIds = sides.ints(Shape.of(total), new int[total]);
    this.positions = sides.ints(Shape.of(total), pos);
    this.slotMapping = sides.ints(Shape.of(total), slots);
    this.cuSeqLens = sides.ints(Shape.of(numSeqs + 1), cu);
    this.contextLens = sides.ints(Shape.of(numSeqs), contextLens);
    this.blockTables = sides.ints(Shape.of(numSeqs, maxBlocks), tables);
    this.logitRows = sides.ints(Shape.of(1), 0);
  }

  /** Blocks for each sequence, handed out in shuffled order. */
  static int[][] shuffledBlocks(int numSeqs, int blocksPerSeq, long seed) {
    List<Integer> ids = new ArrayList<>();
    for (int i = 0; i < numSeqs * blocksPerSeq; i++) {
      ids.add(i);
    }
    Collections.shuffle(ids, new Random(seed));
    int[][] tables = new int[numSeqs][blocksPerSeq];
    for (int i = 0; i < ids.size(); i++) {
      tables[i / blocksPerSeq][i % blocksPerSeq] = ids.get(i);
    }
    return tables;
  }

  ForwardBatch of(Side side) {
    return of(side, side.of(logitRows), 0);
  }

  /** With rows whose logits are wanted. */
  ForwardBatch of(Side side, Tensor logitRows, int numLogitRows) {
    ForwardBatch batch =
        new ForwardBatch(
            side.of(tokenIds),
            side.of(positions),
            side.of(slotMapping),
            side.of(cuSeqLens),
            side.of(contextLens),
            side.of(blockTables),
            logitRows);
    batch.resize(numTokens, newTokens.length, numLogitRows);
    return batch;
  }

  /** One for each: sequences with a token each. */
  static int[] ones(int count) {
    int[] ones = new int[count];
    Arrays.fill(ones, 1);
    return ones;
  }
}
