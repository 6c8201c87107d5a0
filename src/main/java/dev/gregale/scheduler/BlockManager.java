package dev.gregale.scheduler;

/** Who owns which KV block: pure bookkeeping over block ids. */
final class BlockManager {
  private final int[] freeBlocks;
  private final int[] refCounts;
  private int numFree;

  BlockManager(int numBlocks) {
    freeBlocks = new int[numBlocks];
    refCounts = new int[numBlocks];
    for (int i = 0; i < numBlocks; i++) {
      freeBlocks[i] = numBlocks - 1 - i; // a stack: low ids go first
    }
    numFree = numBlocks;
  }

  int numFree() {
    return numFree;
  }

  /** A free block, now referred to once. */
  int allocate() {
    if (numFree == 0) {
      throw new IllegalStateException("no KV block is free");
    }
    int block = freeBlocks[--numFree];
    refCounts[block] = 1;
    return block;
  }

  /** Drops one reference to a block; without any, it is free again. */
  void free(int block) {
    if (refCounts[block] == 0) {
      throw new IllegalStateException("KV block " + block + " is already free");
    }
    if (--refCounts[block] == 0) {
      freeBlocks[numFree++] = block;
    }
  }

  /** Owners of a block. */
  int refCount(int block) {
    return refCounts[block];
  }
}
