package dev.gregale.structured;

import java.util.List;
import org.jspecify.annotations.Nullable;

/** A vocabulary, laid out for masks. Shared by all grammars; safe for use by several threads. */
final class TokenTable {
  private static final int VARIANTS = 2;

  private final TokenTrie trie;
  private final int[] eosTokenIds;
  private final StringTokens[] strings = new StringTokens[VARIANTS * StringBytes.NUM_STATES];

  /**
   * @param bytes of each token; null for one that is never drawn
   * @param eosTokenIds what ends a text
   */
  TokenTable(List<byte @Nullable []> bytes, int[] eosTokenIds) {
    trie = new TokenTrie(bytes);
    this.eosTokenIds = eosTokenIds.clone();
    for (int i = 0; i < strings.length; i++) {
      strings[i] = new StringTokens(trie, i / VARIANTS, i % VARIANTS != 0);
    }
  }

  TokenTrie trie() {
    return trie;
  }

  int[] eosTokenIds() {
    return eosTokenIds;
  }

  boolean isEos(int token) {
    for (int eos : eosTokenIds) {
      if (token == eos) {
        return true;
      }
    }
    return false;
  }

  /** What tokens do inside a string, by the state they begin in. */
  StringTokens strings(int state, boolean plain) {
    return strings[state * VARIANTS + (plain ? 1 : 0)];
  }
}
