package dev.gregale.tokenizer;

import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import org.jspecify.annotations.Nullable;
import tools.jackson.core.JacksonException;
import tools.jackson.databind.JsonNode;
import tools.jackson.databind.json.JsonMapper;

/** Reads a checkpoint's tokenizer files, with errors that name the file. */
final class TokenizerFiles {

  /** Published files stay under 40 MB; a bound keeps a wrong path from filling the heap. */
  private static final long MAX_BYTES = 256L << 20;

  private static final JsonMapper JSON = new JsonMapper();

  private TokenizerFiles() {}

  /** The file's JSON object; an empty object if there is no such file. */
  static JsonNode readObjectIfPresent(Path file) {
    return Files.exists(file) ? readObject(file) : JSON.createObjectNode();
  }

  /** The file's JSON object. Error: {@link TokenizerLoadException} if it is not one. */
  static JsonNode readObject(Path file) {
    JsonNode root;
    try {
      root = JSON.readTree(readBytes(file));
    } catch (JacksonException e) {
      throw unusable(file, e.getOriginalMessage(), e);
    }
    if (!root.isObject()) {
      throw unusable(file, "a JSON object was expected", null);
    }
    return root;
  }

  static String readText(Path file) {
    return new String(readBytes(file), StandardCharsets.UTF_8);
  }

  static TokenizerLoadException unusable(Path file, String reason, @Nullable Throwable cause) {
    return new TokenizerLoadException(
        file + " cannot be used: " + reason + "; fetch or export the checkpoint again", cause);
  }

  private static byte[] readBytes(Path file) {
    try {
      long size = Files.size(file);
      if (size > MAX_BYTES) {
        throw unusable(file, size + " bytes, more than " + MAX_BYTES, null);
      }
      return Files.readAllBytes(file);
    } catch (IOException e) {
      throw unusable(file, e.toString(), e);
    }
  }
}
