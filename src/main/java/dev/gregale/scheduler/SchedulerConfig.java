package dev.gregale.scheduler;

/**
 * The limits that a {@link Scheduler} keeps.
 *
 * @param maxNumSeqs sequences that run at the same time, at most
 * @param maxNumBatchedTokens tokens of one step, at most
 * @param maxModelLen prompt and output of one sequence, in tokens, at most
 * @param blockSize tokens of one KV block
 * @param numBlocks KV blocks there are
 * @param maxLogitRows rows of logits of one step, at most
 * @param maxWaitingSeqs sequences that wait, at most
 * @param enablePrefixCaching share full KV blocks of the same content between sequences
 */
public record SchedulerConfig(
    int maxNumSeqs,
    int maxNumBatchedTokens,
    int maxModelLen,
    int blockSize,
    int numBlocks,
    int maxLogitRows,
    int maxWaitingSeqs,
    boolean enablePrefixCaching) {

  public SchedulerConfig {
    requirePositive("max-num-seqs", maxNumSeqs);
    requirePositive("max-model-len", maxModelLen);
    requirePositive("block-size", blockSize);
    requirePositive("the number of KV blocks", numBlocks);
    requirePositive("the length of the waiting queue", maxWaitingSeqs);
    // Every running sequence must be able to take a step, or the oldest could starve.
    if (maxNumBatchedTokens < maxNumSeqs) {
      throw new IllegalArgumentException(
          "max-num-batched-tokens is %d, but must be at least max-num-seqs (%d), one token for each"
              .formatted(maxNumBatchedTokens, maxNumSeqs));
    }
    if (maxLogitRows < maxNumSeqs) {
      throw new IllegalArgumentException(
          "the logits have %d rows, but need at least max-num-seqs (%d), one for each"
              .formatted(maxLogitRows, maxNumSeqs));
    }
    long slots = (long) numBlocks * blockSize;
    if (slots < maxModelLen) {
      throw new IllegalArgumentException(
          "the KV cache holds %d tokens (%d blocks of %d), too few for one sequence of max-model-len"
                  .formatted(slots, numBlocks, blockSize)
              + " (%d): lower max-model-len or give the cache more memory".formatted(maxModelLen));
    }
    if (slots > Integer.MAX_VALUE) {
      throw new IllegalArgumentException(
          "the KV cache holds %d tokens (%d blocks of %d), more than slots can be numbered for"
              .formatted(slots, numBlocks, blockSize));
    }
  }

  private static void requirePositive(String name, int value) {
    if (value < 1) {
      throw new IllegalArgumentException(name + " is " + value + ", but must be at least 1");
    }
  }

  /** Blocks that hold that many tokens. */
  int blocksFor(int numTokens) {
    return Math.ceilDiv(numTokens, blockSize);
  }

  /** Blocks that the longest sequence needs. */
  public int maxBlocksPerSeq() {
    return blocksFor(maxModelLen);
  }

  /** A batch of the capacity that these limits call for. */
  public ScheduledBatch newBatch() {
    return new ScheduledBatch(maxNumBatchedTokens, maxNumSeqs, maxLogitRows, maxBlocksPerSeq());
  }
}
