package dev.gregale.tokenizer;

/**
 * One turn of a conversation, as chat templates see it.
 *
 * @param role as in {@code system}, {@code user}, {@code assistant}
 * @param content its text
 */
public record ChatMessage(String role, String content) {}
