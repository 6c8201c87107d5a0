package dev.gregale.checkpoint;

import java.lang.foreign.MemorySegment;
import java.nio.ByteBuffer;
import java.nio.CharBuffer;
import java.nio.charset.CoderResult;
import java.nio.charset.StandardCharsets;
import java.util.Arrays;
import tools.jackson.core.JsonParser;
import tools.jackson.core.JsonToken;
import tools.jackson.core.ObjectReadContext;
import tools.jackson.core.StreamReadConstraints;
import tools.jackson.core.json.JsonFactory;
import tools.jackson.databind.util.ByteBufferBackedInputStream;

/**
 * JSON from a file that is not trusted, read as a stream: strict UTF-8, bounded depth and lengths.
 * What a parser may differ on (a lone surrogate, {@code -0}, a name in UTF-16) is refused.
 */
final class JsonInput implements AutoCloseable {

  private static final int MAX_NAME_LENGTH = 2048;
  private static final StreamReadConstraints LIMITS =
      StreamReadConstraints.builder()
          .maxNestingDepth(8)
          .maxNumberLength(20)
          .maxNameLength(MAX_NAME_LENGTH)
          .maxStringLength(1 << 20)
          .build();

  private final String file;
  private final JsonParser parser;

  /**
   * @param file for messages
   * @param text the whole text, at most 2 GiB
   */
  JsonInput(String file, MemorySegment text) {
    this.file = file;
    requireUtf8(text);
    // A factory keeps tables of the names that its parsers met, and every later parser copies them:
    // with one for all files, a large file would cost all that are read after it.
    this.parser =
        JsonFactory.builder()
            .streamReadConstraints(LIMITS)
            .build()
            .createParser(
                ObjectReadContext.empty(), new ByteBufferBackedInputStream(text.asByteBuffer()));
  }

  private void requireUtf8(MemorySegment text) {
    var decoder = StandardCharsets.UTF_8.newDecoder();
    ByteBuffer in = text.asByteBuffer();
    CharBuffer out = CharBuffer.allocate(8192);
    CoderResult result;
    do {
      out.clear();
      result = decoder.decode(in, out, true);
      // Jackson takes NUL bytes for a sign of UTF-16; JSON in UTF-8 has none.
      if (out.flip().chars().anyMatch(c -> c == 0)) {
        throw fail("found a NUL byte, expected UTF-8 text");
      }
    } while (result.isOverflow());
    if (result.isError()) {
      throw fail("malformed UTF-8 at byte " + in.position());
    }
  }

  JsonToken next() {
    JsonToken token = parser.nextToken();
    if (token == null) {
      throw fail("ends within the JSON");
    }
    return token;
  }

  /** Steps to the next name of the current object; false at its end. */
  boolean nextName() {
    return next() == JsonToken.PROPERTY_NAME;
  }

  /** The name that {@link #nextName} stepped to. */
  String name() {
    return parser.currentName();
  }

  void require(JsonToken found, JsonToken expected, String what) {
    if (found != expected) {
      throw fail("%s: found %s, expected %s".formatted(what, describe(found), describe(expected)));
    }
  }

  String nextString(String what) {
    require(next(), JsonToken.VALUE_STRING, what);
    String text = parser.getString();
    // Jackson lets a lone surrogate pass in values, though not in names.
    if (!StandardCharsets.UTF_8.newEncoder().canEncode(text)) {
      throw fail("%s: lone surrogate in %s".formatted(what, CheckpointException.quote(text)));
    }
    return text;
  }

  /** An array of at most {@code max} integers from 0 up to the largest long. */
  long[] nextLongs(String what, int max) {
    require(next(), JsonToken.START_ARRAY, what);
    long[] values = new long[max];
    int count = 0;
    for (JsonToken t = next(); t != JsonToken.END_ARRAY; t = next()) {
      if (t != JsonToken.VALUE_NUMBER_INT || parser.getString().startsWith("-")) {
        String found = t.isNumeric() ? parser.getString() : describe(t);
        throw fail("%s: found %s, expected integers of 0 or more".formatted(what, found));
      }
      if (count == max) {
        throw fail("%s: found more than %d numbers".formatted(what, max));
      }
      values[count++] = nonNegative(what);
    }
    return Arrays.copyOf(values, count);
  }

  private long nonNegative(String what) {
    String digits = parser.getString();
    try {
      return Long.parseLong(digits);
    } catch (NumberFormatException e) {
      throw fail("%s: %s is beyond 2^63 - 1".formatted(what, digits));
    }
  }

  void skipValue() {
    next();
    parser.skipChildren();
  }

  /** Bytes read so far, up to the end of the current token. */
  long position() {
    return parser.currentLocation().getByteOffset();
  }

  CheckpointException fail(String problem) {
    return new CheckpointException(file + ": " + problem);
  }

  @Override
  public void close() {
    parser.close();
  }

  private static String describe(JsonToken token) {
    return switch (token) {
      case START_OBJECT, END_OBJECT -> "an object";
      case START_ARRAY, END_ARRAY -> "an array";
      case VALUE_STRING -> "a string";
      case VALUE_NUMBER_INT -> "an integer";
      case VALUE_NUMBER_FLOAT -> "a fraction";
      case VALUE_TRUE, VALUE_FALSE -> "a boolean";
      case VALUE_NULL -> "null";
      default -> token.name();
    };
  }
}
