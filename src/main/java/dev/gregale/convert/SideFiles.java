package dev.gregale.convert;

import dev.gregale.checkpoint.Checkpoint;
import dev.gregale.checkpoint.CheckpointException;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.regex.Pattern;

/** The files of a model that a conversion carries along unchanged. */
final class SideFiles {

  private static final List<String> NAMES =
      List.of(
          "generation_config.json",
          "tokenizer.json",
          "tokenizer.model",
          "tokenizer_config.json",
          "special_tokens_map.json",
          "added_tokens.json",
          "vocab.json",
          "merges.txt",
          "chat_template.jinja",
          "chat_template.json");

  private static final long MAX_BYTES = 1L << 28;
  private static final Pattern PLAIN_NAME = Pattern.compile("[A-Za-z0-9_][A-Za-z0-9._-]{0,200}");

  private SideFiles() {}

  /** Whether a name can only be that of a file in the directory itself. */
  static boolean isPlainName(String name) {
    return PLAIN_NAME.matcher(name).matches();
  }

  /**
   * Those that a model directory has.
   *
   * @throws CheckpointException if one leads out of the directory, is no file or too large
   */
  static List<Path> of(Path directory) throws IOException {
    List<Path> files =
        NAMES.stream()
            .filter(name -> Channels.exists(directory.resolve(name)))
            .map(name -> Checkpoint.resolve(directory, name))
            .toList();
    for (Path file : files) {
      if (!Files.isRegularFile(file) || Files.size(file) > MAX_BYTES) {
        throw new CheckpointException(
            file + ": expected a regular file of at most " + MAX_BYTES + " bytes");
      }
    }
    return files;
  }
}
