package dev.gregale.scheduler;

import dev.gregale.sampling.SamplingParams;

/**
 * Spares sequences the computing of leading blocks that hold the same as some before. Only whole
 * blocks, of the same {@link Sequence#cacheSalt}. For one thread.
 */
final class PrefixCache {
  private final boolean enabled;
  private final int blockSize;
  private final PrefixIndex index;
  private final BlockManager blocks;
  private final int[] matched;
  private int numMatched;
  private int numMatchedInUse;
  private long numQueriedTokens;
  private long numHitTokens;

  PrefixCache(SchedulerConfig config, PrefixIndex index, BlockManager blocks) {
    enabled = config.enablePrefixCaching();
    blockSize = config.blockSize();
    matched = new int[config.maxBlocksPerSeq()];
    this.index = index;
    this.blocks = blocks;
  }

  /**
   * Looks for the leading blocks of a sequence that waits. They are its own only after {@link
   * #take}, before which no block may be handed out.
   *
   * @return tokens that need not be computed
   */
  int match(Sequence sequence) {
    numMatched = 0;
    numMatchedInUse = 0;
    int most = enabled ? sequence.numSkippableTokens() / blockSize : 0;
    long content = PrefixIndex.ROOT;
    while (numMatched < most) {
      int block = index.find(content, sequence, numMatched * blockSize);
      if (block == PrefixIndex.NONE) {
        break;
      }
      content = index.content(block);
      numMatchedInUse += blocks.refCount(block) > 0 ? 1 : 0;
      matched[numMatched++] = block;
    }
    return numMatched * blockSize;
  }

  /** How many of the blocks just found are not free. */
  int numMatchedInUse() {
    return numMatchedInUse;
  }

  /** Gives the blocks just found to the sequence that they were found for. */
  void take(Sequence sequence) {
    BlockTable table = sequence.blockTable();
    for (int i = 0; i < numMatched; i++) {
      blocks.share(matched[i]);
      table.add(matched[i]);
      table.addContent(index.content(matched[i]));
    }
    SamplingParams params = sequence.params();
    if (enabled
        && !sequence.wasAdmitted()
        && params.promptLogprobs() < 0
        && !params.returnRoutedExperts()) {
      numQueriedTokens += sequence.numTokens();
      numHitTokens += (long) numMatched * blockSize;
    }
  }

  /** Lets others find the full blocks of a sequence's first so many tokens, which are computed. */
  void store(Sequence sequence, int numComputedTokens) {
    if (!enabled) {
      return;
    }
    BlockTable table = sequence.blockTable();
    for (int i = table.numContents(); i < numComputedTokens / blockSize; i++) {
      int block = index.find(table.content(), sequence, i * blockSize);
      if (block == PrefixIndex.NONE) {
        block = table.get(i);
        index.put(block, table.content(), sequence, i * blockSize);
      } // else someone computed the same meanwhile: one of the two is enough
      table.addContent(index.content(block));
    }
  }

  /** Forgets all content; what sequences own they keep. */
  void clear() {
    index.clear();
  }

  /** Tokens of the sequences that were looked for, each when it was first admitted. */
  long numQueriedTokens() {
    return numQueriedTokens;
  }

  /** Those of them that were found. */
  long numHitTokens() {
    return numHitTokens;
  }
}
