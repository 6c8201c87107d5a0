package dev.gregale.scheduler;

/**
 * Who owns which KV block: pure bookkeeping over block ids. A block without owners is free, but one
 * whose content the {@link PrefixIndex} knows keeps it until the block is handed out again: first
 * go the blocks that hold nothing of use, then those that have been free for longest.
 */
final class BlockManager {
  private final PrefixIndex index;
  private final int[] refCounts;

  /** The free blocks as a ring, in the order in which they are handed out. */
  private final int[] next;

  private final int[] previous;

  /** The place in the ring where it begins and ends: the id after the last block's. */
  private final int head;

  private int numFree;

  /**
   * @param index of the same blocks
   */
  BlockManager(int numBlocks, PrefixIndex index) {
    this.index = index;
    refCounts = new int[numBlocks];
    next = new int[numBlocks + 1];
    previous = new int[numBlocks + 1];
    head = numBlocks;
    next[head] = head;
    previous[head] = head;
    for (int block = 0; block < numBlocks; block++) {
      insertAfter(previous[head], block);
    }
  }

  int numFree() {
    return numFree;
  }

  /** A free block, now referred to once. What it held is lost. */
  int allocate() {
    if (numFree == 0) {
      throw new IllegalStateException("no KV block is free");
    }
    int block = next[head];
    remove(block);
    index.remove(block);
    refCounts[block] = 1;
    return block;
  }

  /** Adds one reference to a block whose content is known, be it free or not. */
  void share(int block) {
    if (!isShareable(block)) {
      throw new IllegalStateException("KV block " + block + " holds nothing to be shared");
    }
    if (refCounts[block]++ == 0) {
      remove(block);
    }
  }

  /** Drops one reference to a block; without any, it is free again. */
  void free(int block) {
    if (refCounts[block] == 0) {
      throw new IllegalStateException("KV block " + block + " is already free");
    }
    if (--refCounts[block] == 0) {
      insertAfter(isShareable(block) ? previous[head] : head, block);
    }
  }

  /** Whether the index knows what a block holds; then it must not be written. */
  boolean isShareable(int block) {
    return index.holds(block);
  }

  /** Owners of a block. */
  int refCount(int block) {
    return refCounts[block];
  }

  private void insertAfter(int place, int block) {
    next[block] = next[place];
    previous[block] = place;
    previous[next[place]] = block;
    next[place] = block;
    numFree++;
  }

  private void remove(int block) {
    next[previous[block]] = next[block];
    previous[next[block]] = previous[block];
    numFree--;
  }
}
