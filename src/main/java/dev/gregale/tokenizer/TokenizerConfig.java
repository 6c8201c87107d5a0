package dev.gregale.tokenizer;

import java.nio.file.Files;
import java.nio.file.Path;
import org.jspecify.annotations.Nullable;
import tools.jackson.databind.JsonNode;

/**
 * What {@code tokenizer_config.json}, {@code special_tokens_map.json} and {@code
 * chat_template.jinja} say beside the tokenizer itself.
 *
 * @param bosToken the beginning-of-sequence token's string, or null
 * @param eosToken the end-of-sequence token's string, or null
 * @param chatTemplate the Jinja source, or null if the checkpoint has no default template
 */
public record TokenizerConfig(
    @Nullable String bosToken, @Nullable String eosToken, @Nullable String chatTemplate) {

  private static final String DEFAULT_TEMPLATE = "default";

  /**
   * Reads what of these files is there; none of them need be.
   *
   * <p>Error: {@link TokenizerLoadException} if a file is there but unusable.
   *
   * @param directory of the checkpoint
   */
  public static TokenizerConfig read(Path directory) {
    JsonNode config =
        TokenizerFiles.readObjectIfPresent(directory.resolve("tokenizer_config.json"));
    JsonNode special =
        TokenizerFiles.readObjectIfPresent(directory.resolve("special_tokens_map.json"));
    return new TokenizerConfig(
        specialToken("bos_token", config, special),
        specialToken("eos_token", config, special),
        chatTemplate(directory, config));
  }

  private static @Nullable String specialToken(String name, JsonNode config, JsonNode special) {
    String fromConfig = tokenString(config.path(name));
    return fromConfig != null ? fromConfig : tokenString(special.path(name));
  }

  /** A token is written as a string or as {@code {"content": string, ...}}. */
  private static @Nullable String tokenString(JsonNode node) {
    JsonNode value = node.isObject() ? node.path("content") : node;
    return value.isString() ? value.stringValue() : null;
  }

  private static @Nullable String chatTemplate(Path directory, JsonNode config) {
    Path file = directory.resolve("chat_template.jinja");
    if (Files.exists(file)) {
      return TokenizerFiles.readText(file);
    }
    JsonNode template = config.path("chat_template");
    if (!template.isArray()) {
      return template.isString() ? template.stringValue() : null;
    }
    for (JsonNode entry : template) {
      if (DEFAULT_TEMPLATE.equals(entry.path("name").stringValue(null))) {
        return entry.path("template").stringValue(null);
      }
    }
    return null;
  }
}
