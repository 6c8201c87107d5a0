package dev.gregale.cli;

import dev.gregale.config.ExitCode;
import dev.gregale.config.StartupException;
import dev.gregale.tokenizer.Tokenizer;
import java.io.IOException;
import java.nio.charset.CharacterCodingException;
import java.nio.file.Files;
import java.nio.file.NoSuchFileException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.OptionalInt;
import org.jspecify.annotations.Nullable;
import tools.jackson.core.JacksonException;
import tools.jackson.databind.JsonNode;
import tools.jackson.databind.json.JsonMapper;

/**
 * What is to be scored.
 *
 * @param sequences of token ids, each on its own
 * @param bos what the tokenizer puts before a text; null where ids are taken as they are
 */
record ScoredText(List<int[]> sequences, @Nullable Integer bos) {
  /** Of a file: the tokenizer takes some 140 bytes of memory for each. */
  static final int MAX_BYTES = 4 << 20;

  /** A UTF-8 text, without the special tokens that the tokenizer would put around it. */
  static ScoredText ofText(Path file, Tokenizer tokenizer) {
    String text = read(file);
    int[] ids = tokenizer.encode(text, false);
    int[] beginning = tokenizer.encode("", true);
    OptionalInt bos = tokenizer.bosTokenId();
    boolean addsBos =
        bos.isPresent() && Arrays.stream(beginning).anyMatch(id -> id == bos.getAsInt());
    return new ScoredText(List.of(ids), addsBos ? bos.getAsInt() : null);
  }

  /**
   * Token ids: a JSON array of ids, or of arrays of ids; or else plain text with one sequence a
   * line, ids separated by blanks.
   */
  static ScoredText ofTokenIds(Path file, int vocabSize) {
    String text = read(file);
    List<int[]> sequences =
        text.stripLeading().startsWith("[") ? ofJson(file, text) : ofLines(file, text);
    for (int[] sequence : sequences) {
      for (int id : sequence) {
        if (id < 0 || id >= vocabSize) {
          throw bad(file, "token id %d, but ids run from 0 to %d".formatted(id, vocabSize - 1));
        }
      }
    }
    return new ScoredText(sequences, null);
  }

  /** Whether there is no token that another one precedes. */
  boolean isEmpty() {
    int least = bos == null ? 2 : 1;
    return sequences.stream().allMatch(ids -> ids.length < least);
  }

  private static List<int[]> ofJson(Path file, String text) {
    try {
      JsonNode array = JsonMapper.shared().readTree(text);
      JsonMapper mapper = JsonMapper.shared();
      return array.isEmpty() || !array.get(0).isArray()
          ? List.of(mapper.treeToValue(array, int[].class))
          : List.of(mapper.treeToValue(array, int[][].class));
    } catch (JacksonException e) {
      throw bad(file, "no array of token ids or of such arrays: " + e.getOriginalMessage());
    }
  }

  private static List<int[]> ofLines(Path file, String text) {
    try {
      List<int[]> sequences = new ArrayList<>();
      text.lines()
          .filter(line -> !line.isBlank())
          .map(line -> Arrays.stream(line.strip().split("\\s+")).mapToInt(Integer::parseInt))
          .forEach(ids -> sequences.add(ids.toArray()));
      return sequences;
    } catch (NumberFormatException e) {
      throw bad(file, "something that is no token id: " + e.getMessage());
    }
  }

  private static String read(Path file) {
    try {
      if (Files.size(file) > MAX_BYTES) {
        throw new StartupException(
            ExitCode.DATA,
            "%s has %,d bytes, but at most %,d are read; give a part of it"
                .formatted(file, Files.size(file), MAX_BYTES));
      }
      return Files.readString(file);
    } catch (NoSuchFileException e) {
      throw new StartupException(ExitCode.NO_INPUT, file + ": no such file");
    } catch (CharacterCodingException e) {
      throw new StartupException(ExitCode.DATA, file + " is no UTF-8 text");
    } catch (IOException e) {
      throw new StartupException(ExitCode.IO_ERROR, file + " cannot be read: " + e);
    }
  }

  private static StartupException bad(Path file, String what) {
    return new StartupException(ExitCode.DATA, file + " has " + what);
  }
}
