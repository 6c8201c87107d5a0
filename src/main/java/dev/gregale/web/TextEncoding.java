package dev.gregale.web;

import static dev.gregale.web.Ranges.check;

import dev.gregale.tokenizer.TextTooLongException;
import dev.gregale.tokenizer.Tokenizer;

/** Text to token ids, with refusals that name the field. */
final class TextEncoding {

  private TextEncoding() {}

  /** The ids of a text; refuses one that is too long for the tokenizer. */
  static int[] encode(Tokenizer tokenizer, String field, String text, boolean addSpecialTokens) {
    try {
      return tokenizer.encode(text, addSpecialTokens);
    } catch (TextTooLongException e) {
      throw ApiException.badRequest(field, field + ": " + e.getMessage());
    }
  }

  /** Refuses a text that is not Unicode. */
  static void checkWellFormed(String field, String where, String text) {
    check(
        text.codePoints()
            .noneMatch(c -> c >= Character.MIN_SURROGATE && c <= Character.MAX_SURROGATE),
        field,
        where + " holds half of a surrogate pair (as in \\ud83d alone), which is no character");
  }

  /** Refuses token ids that the model does not have. */
  static void checkIds(String field, String where, int[] ids, int vocabSize) {
    for (int i = 0; i < ids.length; i++) {
      if (ids[i] < 0 || ids[i] >= vocabSize) {
        throw ApiException.badRequest(
            field,
            "%s[%d] is token id %d, but the model's token ids run from 0 to %d"
                .formatted(where, i, ids[i], vocabSize - 1));
      }
    }
  }
}
