package dev.gregale.tokenizer;

import java.util.List;

/** Conversations to the text of a prompt. Safe for use by several threads. */
@FunctionalInterface
public interface ChatRenderer {

  /**
   * The text, its special tokens included. May take as long as the template's limits allow: not for
   * event loops.
   *
   * <p>Error: {@link ChatTemplateException} if the messages cannot be rendered.
   *
   * @param addGenerationPrompt end with the start of an assistant's turn, in templates that ask
   */
  String render(List<ChatMessage> messages, boolean addGenerationPrompt);
}
