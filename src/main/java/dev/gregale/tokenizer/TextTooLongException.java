package dev.gregale.tokenizer;

/** A text longer than the tokenizer was told to accept: the caller's mistake. */
public final class TextTooLongException extends IllegalArgumentException {

  /**
   * @param length of the refused text, in UTF-16 code units
   * @param maxLength what is accepted at most, in UTF-16 code units
   */
  public TextTooLongException(int length, int maxLength) {
    super(
        "text of %d characters is longer than the %d that are tokenised at most; send a shorter text"
            .formatted(length, maxLength));
  }
}
