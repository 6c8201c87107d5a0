package dev.gregale.scheduler;

import java.util.Arrays;

/**
 * The KV blocks of one sequence, in the order of its tokens, and the id of what the leading ones
 * hold, as far as it is known.
 */
final class BlockTable {
  private int[] blocks = new int[4];
  private int size;
  private int numContents;
  private long content = PrefixIndex.ROOT;

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

  /** Leading blocks whose content {@link PrefixIndex} has an id for. */
  int numContents() {
    return numContents;
  }

  /** The id of the last of these contents. */
  long content() {
    return content;
  }

  /** The next block holds the content of that id. */
  void addContent(long id) {
    content = id;
    numContents++;
  }

  void clear() {
    size = 0;
    numContents = 0;
    content = PrefixIndex.ROOT;
  }

  /** Where in the cache the token at that position lies. */
  int slot(int position, int blockSize) {
    return blocks[position / blockSize] * blockSize + position % blockSize;
  }

  void copyTo(int[] destination, int offset) {
    System.arraycopy(blocks, 0, destination, offset, size);
  }
}
