package dev.gregale.checkpoint;

import dev.gregale.tensor.DType;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collections;
import java.util.List;
import java.util.Random;
import java.util.regex.MatchResult;
import java.util.regex.Pattern;

/** Valid files, and files that random edits have made of them. */
final class SafetensorsMutator {
  private static final Pattern NUMBER = Pattern.compile("\\d+");
  private static final String[] NUMBERS = {
    "0",
    "1",
    "2",
    "3",
    "4",
    "7",
    "8",
    "12",
    "16",
    "-1",
    "-0",
    "1.5",
    "1e3",
    "255",
    "2147483647",
    "2147483648",
    "4294967295",
    "4294967296",
    "4611686018427387904",
    "9223372036854775807",
    "9223372036854775808",
    "18446744073709551615",
    "18446744073709551616",
    "null",
    "[]",
    "\"4\""
  };
  private static final String[] WORDS = {
    "{",
    "}",
    "[",
    "]",
    ",",
    ":",
    "\"",
    " ",
    "\\",
    "\\u0061",
    "\\ud800",
    "\u00e9",
    "\0",
    "\n",
    "\"__metadata__\":{},",
    "\"dtype\":\"U8\",",
    "\"shape\":[0],",
    "F64",
    "F8_E4M3",
    "BOOL",
    "0"
  };

  private SafetensorsMutator() {}

  /** Four tensors, one of them empty, in 30 bytes. */
  static byte[] valid() {
    return Golden.file(
        "{\"__metadata__\":{\"format\":\"pt\"},"
            + "\"a\":{\"dtype\":\"F32\",\"shape\":[2,2],\"data_offsets\":[0,16]},"
            + "\"empty\":{\"dtype\":\"U8\",\"shape\":[0],\"data_offsets\":[16,16]},"
            + "\"b\":{\"dtype\":\"BF16\",\"shape\":[1,3],\"data_offsets\":[16,22]},"
            + "\"c\":{\"dtype\":\"I64\",\"shape\":[],\"data_offsets\":[22,30]}}   ",
        30);
  }

  /** Up to six tensors of random types and shapes, in random order, with random spaces. */
  static byte[] valid(Random random) {
    List<String> entries = new ArrayList<>();
    long end = 0;
    for (int i = random.nextInt(7); i > 0; i--) {
      DType dtype = DType.values()[random.nextInt(DType.values().length)];
      long[] dims = random.longs(random.nextInt(4), 0, 4).toArray();
      long begin = end;
      end += Arrays.stream(dims).reduce(1, (a, b) -> a * b) * dtype.bytes();
      entries.add(
          "\"t%d\":{\"dtype\":\"%s\",\"shape\":%s,\"data_offsets\":[%d,%d]}"
              .formatted(i, dtype, Arrays.toString(dims), begin, end));
    }
    Collections.shuffle(entries, random);
    String spaces = " ".repeat(random.nextInt(9));
    return Golden.file(
        "{" + String.join("," + spaces, entries) + "}" + spaces, Math.toIntExact(end));
  }

  /** One or two random edits; edits of the header mostly keep its length field true. */
  static byte[] mutant(byte[] file, Random random) {
    byte[] bytes = file;
    for (int edits = 1 + random.nextInt(2); edits > 0; edits--) {
      bytes =
          switch (random.nextInt(8)) {
            case 0 -> flip(bytes, random);
            case 1 -> Arrays.copyOf(bytes, random.nextInt(bytes.length + 1));
            case 2 -> Arrays.copyOf(bytes, bytes.length + 1 + random.nextInt(16));
            case 3 -> length(bytes, random);
            default -> header(bytes, random);
          };
      if (bytes.length < 10) {
        break;
      }
    }
    return bytes;
  }

  private static byte[] flip(byte[] bytes, Random random) {
    byte[] flipped = bytes.clone();
    int at = random.nextInt(bytes.length);
    flipped[at] ^= (byte) (random.nextBoolean() ? 1 << random.nextInt(8) : random.nextInt(256));
    return flipped;
  }

  private static byte[] length(byte[] bytes, Random random) {
    byte[] edited = bytes.clone();
    ByteBuffer buffer = ByteBuffer.wrap(edited).order(ByteOrder.LITTLE_ENDIAN);
    long length = buffer.getLong(0);
    long[] choices = {
      length - 1 - random.nextInt(8),
      length + 1 + random.nextInt(40),
      0,
      1,
      -1,
      Long.MAX_VALUE,
      100_000_000,
      100_000_001,
      bytes.length,
      bytes.length - 8,
      random.nextLong(),
      1L << 32
    };
    buffer.putLong(0, choices[random.nextInt(choices.length)]);
    return edited;
  }

  private static byte[] header(byte[] bytes, Random random) {
    long length = ByteBuffer.wrap(bytes).order(ByteOrder.LITTLE_ENDIAN).getLong(0);
    int end = Math.clamp(length, 1, bytes.length - 8) + 8;
    String text = new String(bytes, 8, end - 8, StandardCharsets.ISO_8859_1);
    byte[] edited = edit(text, random).getBytes(StandardCharsets.ISO_8859_1);
    byte[] file = Golden.file(edited, bytes.length - end);
    System.arraycopy(bytes, end, file, 8 + edited.length, bytes.length - end);
    return file;
  }

  private static String edit(String text, Random random) {
    int from = random.nextInt(text.length());
    int to = Math.min(text.length(), from + 1 + random.nextInt(40));
    return switch (random.nextInt(5)) {
      case 0 -> text.substring(0, from) + text.substring(to);
      case 1 -> text.substring(0, to) + text.substring(from);
      case 2 ->
          text.substring(0, from) + WORDS[random.nextInt(WORDS.length)] + text.substring(from);
      case 3 -> text.substring(0, from) + (char) random.nextInt(256) + text.substring(from + 1);
      default -> {
        var numbers = NUMBER.matcher(text).results().toList();
        if (numbers.isEmpty()) {
          yield text;
        }
        MatchResult number = numbers.get(random.nextInt(numbers.size()));
        yield text.substring(0, number.start())
            + NUMBERS[random.nextInt(NUMBERS.length)]
            + text.substring(number.end());
      }
    };
  }
}
