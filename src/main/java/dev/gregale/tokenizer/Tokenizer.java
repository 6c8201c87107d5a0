package dev.gregale.tokenizer;

import java.util.OptionalInt;

/** Text to token ids and back. Safe for use by several threads. */
public interface Tokenizer {

  /**
   * The ids of a text, never truncated.
   *
   * @param addSpecialTokens put the beginning-of-sequence token in front where the checkpoint does
   */
  int[] encode(String text, boolean addSpecialTokens);

  /** The text of ids; incomplete UTF-8 at either end shows as U+FFFD. */
  String decode(int[] ids, boolean skipSpecialTokens);

  /** The vocabulary's own string for an id, as in {@code "▁Once"} or {@code "<0x0A>"}. */
  String token(int id);

  /** Ids run from 0 to this, exclusive. */
  int vocabSize();

  OptionalInt bosTokenId();

  OptionalInt eosTokenId();
}
