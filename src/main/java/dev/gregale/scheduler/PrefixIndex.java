package dev.gregale.scheduler;

import java.util.Arrays;
import java.util.Objects;
import java.util.concurrent.ThreadLocalRandom;
import org.jspecify.annotations.Nullable;

/**
 * Which full KV block holds what: the keys and values of its tokens, after those of all blocks
 * before it. Content goes by ids that are given once and never again. A block is found by the
 * content id of the block before it and its own tokens, both compared as they are: the hash only
 * says where to look. The first block of a prompt has the sequence's {@link Sequence#cacheSalt} in
 * the place of a block before it.
 *
 * <p>One entry per block, made at once: its size is fixed, and nothing is allocated later.
 */
final class PrefixIndex {
  static final int NONE = -1;

  /** In the place of the content before a sequence's first block. */
  static final long ROOT = 0;

  private static final long UNKNOWN = 0;

  private final int blockSize;

  /** Not to be guessed from outside, so that nobody can send prompts that all hash alike. */
  private final long secret;

  /** The first block of each chain; the length is a power of two. */
  private final int[] chains;

  private final int[] nextInChain;
  private final int[] chainOf;
  private final long[] contents;
  private final long[] parents;
  private final @Nullable String[] salts;

  /** {@code [numBlocks, blockSize]}. */
  private final int[] tokens;

  private long lastContent = ROOT;

  PrefixIndex(int numBlocks, int blockSize) {
    this(numBlocks, blockSize, ThreadLocalRandom.current().nextLong() | 1);
  }

  /**
   * @param secret what hashes are made with
   */
  PrefixIndex(int numBlocks, int blockSize, long secret) {
    this.blockSize = blockSize;
    this.secret = secret;
    chains = new int[Integer.highestOneBit(numBlocks) * 2];
    nextInChain = new int[numBlocks];
    chainOf = new int[numBlocks];
    contents = new long[numBlocks];
    parents = new long[numBlocks];
    salts = new @Nullable String[numBlocks];
    tokens = new int[numBlocks * blockSize];
    Arrays.fill(chains, NONE);
  }

  /** Whether the content of a block is known. */
  boolean holds(int block) {
    return contents[block] != UNKNOWN;
  }

  /** The id of what a block holds. */
  long content(int block) {
    return contents[block];
  }

  /**
   * The block that holds the sequence's tokens from position {@code from} on; {@link #NONE} if none
   * does.
   *
   * @param parent the id of the content before it
   */
  int find(long parent, Sequence sequence, int from) {
    int block = chains[chain(parent, sequence, from)];
    while (block != NONE && !isAt(block, parent, sequence, from)) {
      block = nextInChain[block];
    }
    return block;
  }

  private boolean isAt(int block, long parent, Sequence sequence, int from) {
    return parents[block] == parent
        && (parent != ROOT || Objects.equals(salts[block], sequence.cacheSalt()))
        && sequence.hasTokens(from, tokens, block * blockSize, blockSize);
  }

  private int chain(long parent, Sequence sequence, int from) {
    long h = parent == ROOT ? Objects.hashCode(sequence.cacheSalt()) : parent;
    h = mix(h ^ secret);
    for (int i = from; i < from + blockSize; i++) {
      h = mix(h ^ sequence.token(i));
    }
    return (int) (h >>> 32) & chains.length - 1;
  }

  private long mix(long h) {
    long m = h * secret;
    return m ^ m >>> 32;
  }

  /** Notes that a block holds the sequence's tokens from position {@code from} on. */
  void put(int block, long parent, Sequence sequence, int from) {
    int chain = chain(parent, sequence, from);
    sequence.copyTokens(from, tokens, block * blockSize, blockSize);
    parents[block] = parent;
    salts[block] = parent == ROOT ? sequence.cacheSalt() : null;
    contents[block] = ++lastContent;
    chainOf[block] = chain;
    nextInChain[block] = chains[chain];
    chains[chain] = block;
  }

  /** Forgets what a block holds, if it is known. */
  void remove(int block) {
    if (!holds(block)) {
      return;
    }
    contents[block] = UNKNOWN;
    salts[block] = null;
    int chain = chainOf[block];
    if (chains[chain] == block) {
      chains[chain] = nextInChain[block];
      return;
    }
    int before = chains[chain];
    while (nextInChain[before] != block) {
      before = nextInChain[before];
    }
    nextInChain[before] = nextInChain[block];
  }

  /** Forgets everything. */
  void clear() {
    Arrays.fill(chains, NONE);
    Arrays.fill(contents, UNKNOWN);
    Arrays.fill(salts, null);
  }
}
