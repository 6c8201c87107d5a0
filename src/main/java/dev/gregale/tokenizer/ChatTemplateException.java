package dev.gregale.tokenizer;

/**
 * The chat template refused the messages, or failed. The message is the template's own where it
 * called {@code raise_exception}.
 */
public final class ChatTemplateException extends RuntimeException {

  public ChatTemplateException(String message) {
    super(message);
  }
}
