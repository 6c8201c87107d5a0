package dev.gregale.engine;

/** Opens a {@link TextStream} for a sequence. Safe for use by several threads. */
@FunctionalInterface
public interface TextStreamFactory {

  /**
   * @param promptTokens what the text continues: decides, for instance, about a leading space
   * @param skipSpecialTokens leave special tokens out of the text
   */
  TextStream open(int[] promptTokens, boolean skipSpecialTokens);

  /** For models without a tokenizer: no text at all, only token ids. */
  static TextStreamFactory none() {
    TextStream empty =
        new TextStream() {
          @Override
          public String push(int token) {
            return "";
          }

          @Override
          public String peek() {
            return "";
          }

          @Override
          public String finish() {
            return "";
          }
        };
    return (promptTokens, skipSpecialTokens) -> empty;
  }
}
