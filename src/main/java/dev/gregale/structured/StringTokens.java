package dev.gregale.structured;

import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;

/**
 * What each token does inside a string, from one state of {@link StringBytes}: most of a vocabulary
 * goes on with a string, so this is looked at once and not in every step.
 */
final class StringTokens {
  private static final byte LEAVES = -1;

  private final TokenTrie trie;
  private final boolean plain;

  /** Characters that a token begins if it stays inside, else {@link #LEAVES}. */
  private final byte[] chars;

  private final List<Closing> closings = new ArrayList<>();

  /** By characters that are left; made when first asked for. */
  private final TokenMask[] masks;

  /**
   * A way to the end of the string in the middle of a token.
   *
   * @param node of the trie behind the closing quote
   * @param chars begun before it
   * @param text the bytes before it
   */
  record Closing(int node, int chars, byte[] text) {}

  /**
   * @param state of {@link StringBytes} that tokens begin in
   * @param plain as in {@link StringBytes#next}
   */
  StringTokens(TokenTrie trie, int state, boolean plain) {
    this.trie = trie;
    this.plain = plain;
    chars = new byte[trie.vocabSize()];
    Arrays.fill(chars, LEAVES);
    walk(TokenTrie.ROOT, state, 0, new byte[Limits.TOKEN_BYTES], 0);
    masks = new TokenMask[Limits.TOKEN_BYTES + 1];
  }

  private void walk(int node, int state, int begun, byte[] path, int depth) {
    for (int child = node + 1; child < trie.end(node); child = trie.end(child)) {
      int next = StringBytes.next(state, trie.label(child), plain);
      if (next == StringBytes.CLOSED) {
        closings.add(new Closing(child, begun, Arrays.copyOf(path, depth)));
      } else if (next != StringBytes.DEAD) {
        int begunThen = begun + (state == StringBytes.TEXT ? 1 : 0);
        trie.forEachToken(child, token -> chars[token] = (byte) begunThen);
        path[depth] = (byte) trie.label(child);
        walk(child, next, begunThen, path, depth + 1);
      }
    }
  }

  /** Tokens that stay inside of a string which may have so many more characters. */
  synchronized TokenMask inside(int charsLeft) {
    int index = Math.min(charsLeft, masks.length - 1);
    TokenMask mask = masks[index];
    if (mask == null) {
      mask = new TokenMask(chars.length);
      for (int token = 0; token < chars.length; token++) {
        if (chars[token] != LEAVES && chars[token] <= index) {
          mask.allow(token);
        }
      }
      masks[index] = mask;
    }
    return mask;
  }

  List<Closing> closings() {
    return closings;
  }
}
