package dev.gregale.scheduler;

import java.util.Arrays;

/** The KV blocks of one sequence, in the order of its tokens. */
final class BlockTable {
  private int[] blocks = new int[4];
  private int size;

  int size() {
    return size;
  }

  int get(int index) {
    return blocks[index];
  }

  void add(int block) {
    if (size == blocks.length) {
      blocks = Arrays.copyOf(blocks, 2 * size);
    }
    blocks[size++] = block;
  }

  void clear() {
    size = 0;
  }

  /** Where in the cache the token at that position lies. */
  int slot(int position, int blockSize) {
    return blocks[position / blockSize] * blockSize + position % blockSize;
  }

  void copyTo(int[] destination, int offset) {
    System.arraycopy(blocks, 0, destination, offset, size);
  }
}
