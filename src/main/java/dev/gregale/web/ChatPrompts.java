package dev.gregale.web;

import static dev.gregale.web.Ranges.check;
import static dev.gregale.web.Ranges.required;

import dev.gregale.tokenizer.ChatMessage;
import dev.gregale.tokenizer.ChatRenderer;
import dev.gregale.tokenizer.ChatTemplateException;
import dev.gregale.tokenizer.Tokenizer;
import java.util.ArrayList;
import java.util.List;
import java.util.Set;
import org.jspecify.annotations.Nullable;
import org.springframework.stereotype.Component;

/** Messages to the text of a prompt, by the checkpoint's template; refuses them with a 400. */
@Component
final class ChatPrompts {
  private static final String FIELD = "messages";
  private static final Set<String> ROLES = Set.of("system", "user", "assistant");

  private final @Nullable Tokenizer tokenizer;
  private final ChatRenderer renderer;

  ChatPrompts(@Nullable Tokenizer tokenizer, ChatRenderer renderer) {
    this.tokenizer = tokenizer;
    this.renderer = renderer;
  }

  /** The tokenizer that chat needs; refuses chat where there is none. */
  Tokenizer tokenizer() {
    if (tokenizer == null) {
      throw ApiException.badRequest(
          FIELD,
          "This checkpoint has no tokenizer, so it cannot chat; give /v1/completions token ids");
    }
    return tokenizer;
  }

  /**
   * The prompt's text. Takes its time, as {@link ChatRenderer} says: for the workers.
   *
   * @param addGenerationPrompt null for true
   */
  String render(@Nullable List<@Nullable Message> messages, @Nullable Boolean addGenerationPrompt) {
    List<ChatMessage> turns = new ArrayList<>();
    for (Message message : required(messages, FIELD, "messages is missing; give at least one")) {
      turns.add(turn("messages[" + turns.size() + "]", message));
    }
    check(!turns.isEmpty(), FIELD, "messages must not be an empty array");
    try {
      return renderer.render(turns, !Boolean.FALSE.equals(addGenerationPrompt));
    } catch (ChatTemplateException e) {
      throw ApiException.badRequest(FIELD, String.valueOf(e.getMessage()));
    }
  }

  private static ChatMessage turn(String where, @Nullable Message given) {
    Message message = required(given, FIELD, where + " must be an object, but is null");
    String role =
        required(
            message.role(),
            FIELD,
            where + ".role is missing; it must be system, user or assistant");
    check(
        ROLES.contains(role),
        FIELD,
        where + ".role must be system, user or assistant, but is " + Quoted.of(role));
    UnsupportedFields.check(where + ".", FIELD, message.others());
    return new ChatMessage(role, content(where + ".content", message.content()));
  }

  private static String content(String where, @Nullable List<Message.@Nullable Part> parts) {
    List<String> texts = new ArrayList<>();
    for (Message.Part part :
        required(parts, FIELD, where + " is missing; give a string or an array of text parts")) {
      texts.add(text(where + "[" + texts.size() + "]", part));
    }
    String text = String.join("\n", texts); // as vLLM joins them for templates of plain text
    TextEncoding.checkWellFormed(FIELD, where, text);
    return text;
  }

  private static String text(String where, Message.@Nullable Part given) {
    Message.Part part = required(given, FIELD, where + " must be a text part, but is null");
    String type = required(part.type(), FIELD, where + ".type is missing; it must be 'text'");
    check(
        type.equals(Message.Part.TEXT),
        FIELD,
        where + ".type must be 'text', but is " + Quoted.of(type));
    return required(part.text(), FIELD, where + ".text is missing");
  }
}
