package dev.gregale.sampling;

import java.util.function.IntConsumer;
import java.util.function.IntUnaryOperator;

/**
 * Bans every token that would complete an n-gram which already stands in the sequence (Hugging
 * Face's NoRepeatNGramLogitsProcessor).
 */
public final class NoRepeatNgram {

  private NoRepeatNgram() {}

  /**
   * Hands out the banned ids, one of them possibly several times.
   *
   * @param tokenAt the token at a position of prompt and output
   * @param length of prompt and output
   * @param n length of the n-grams that may not recur, 0 for no ban
   */
  public static void forEachBanned(
      IntUnaryOperator tokenAt, int length, int n, IntConsumer action) {
    if (n < 1 || length + 1 < n) {
      return;
    }
    int prefix = n - 1;
    for (int start = 0; start + prefix < length; start++) {
      int matched = 0;
      while (matched < prefix
          && tokenAt.applyAsInt(start + matched) == tokenAt.applyAsInt(length - prefix + matched)) {
        matched++;
      }
      if (matched == prefix) {
        action.accept(tokenAt.applyAsInt(start + prefix));
      }
    }
  }
}
