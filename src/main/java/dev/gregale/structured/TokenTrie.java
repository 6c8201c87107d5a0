package dev.gregale.structured;

import java.util.Arrays;
import java.util.Comparator;
import java.util.List;
import java.util.function.IntConsumer;
import java.util.stream.IntStream;
import org.jspecify.annotations.Nullable;

/**
 * The tokens of a vocabulary by their bytes. Nodes are numbered depth first, so that the children
 * of a node are {@code child = node + 1} and, while that is below {@code end(node)}, {@code child =
 * end(child)}. Immutable.
 */
final class TokenTrie {
  static final int ROOT = 0;

  private final byte[] @Nullable [] bytes;

  /** Tokens ordered by their bytes; those of a node are {@code [first[node], last[node])}. */
  private final int[] tokens;

  private final byte[] labels;
  private final int[] ends;
  private final int[] first;
  private final int[] last;

  /**
   * @param bytes of each token of the vocabulary; null for one that is never drawn
   */
  TokenTrie(List<byte @Nullable []> bytes) {
    byte[] @Nullable [] table = new byte[bytes.size()][];
    for (int token = 0; token < table.length; token++) {
      byte[] given = bytes.get(token);
      boolean drawn = given != null && given.length > 0 && given.length <= Limits.TOKEN_BYTES;
      table[token] = drawn ? given : null;
    }
    this.bytes = table;
    tokens =
        IntStream.range(0, table.length)
            .filter(token -> table[token] != null)
            .boxed()
            .sorted(Comparator.comparing(this::bytes, Arrays::compareUnsigned))
            .mapToInt(Integer::intValue)
            .toArray();
    int size = 1;
    for (int i = 0; i < tokens.length; i++) {
      size += bytes(tokens[i]).length - shared(i);
    }
    labels = new byte[size];
    ends = new int[size];
    first = new int[size];
    last = new int[size];
    fill();
  }

  private void fill() {
    int[] path = new int[Limits.TOKEN_BYTES + 1]; // nodes from the root to the last token
    int depth = 0;
    int next = 1;
    for (int i = 0; i < tokens.length; i++) {
      byte[] text = bytes(tokens[i]);
      for (int shared = shared(i); depth > shared; depth--) {
        ends[path[depth]] = next;
      }
      while (depth < text.length) {
        labels[next] = text[depth];
        path[++depth] = next++;
      }
      if (last[path[depth]] == 0) {
        first[path[depth]] = i;
      }
      last[path[depth]] = i + 1;
    }
    for (; depth >= 0; depth--) {
      ends[path[depth]] = next;
    }
  }

  /** Bytes that a token, in the order of their bytes, shares with the one before. */
  private int shared(int i) {
    if (i == 0) {
      return 0;
    }
    byte[] text = bytes(tokens[i]);
    int shared = Arrays.mismatch(bytes(tokens[i - 1]), text);
    return shared < 0 ? text.length : shared;
  }

  /** V. */
  int vocabSize() {
    return bytes.length;
  }

  /** The bytes of a token; none for one that is never drawn. */
  byte[] bytes(int token) {
    byte[] found = bytes[token];
    return found == null ? new byte[0] : found;
  }

  /** The last byte on the way to a node. */
  int label(int node) {
    return labels[node] & 0xFF;
  }

  /** The node behind a node and all below it. */
  int end(int node) {
    return ends[node];
  }

  /** Whether each single byte is a token, so that every text can be written. */
  boolean hasAllBytes() {
    int found = 0;
    for (int child = ROOT + 1; child < end(ROOT); child = end(child)) {
      found += last[child] > first[child] ? 1 : 0;
    }
    return found == 256;
  }

  /** Hands out the tokens that end at a node. */
  void forEachToken(int node, IntConsumer action) {
    for (int i = first[node]; i < last[node]; i++) {
      action.accept(tokens[i]);
    }
  }
}
