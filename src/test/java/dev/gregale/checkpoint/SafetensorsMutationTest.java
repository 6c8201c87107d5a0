package dev.gregale.checkpoint;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import dev.gregale.tensor.DType;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.math.BigInteger;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collections;
import java.util.HexFormat;
import java.util.List;
import java.util.Random;
import java.util.TreeMap;
import java.util.regex.MatchResult;
import java.util.regex.Pattern;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import tools.jackson.core.JacksonException;
import tools.jackson.databind.JsonNode;
import tools.jackson.databind.json.JsonMapper;

/** Broken files cost a {@link CheckpointException} and never a range outside the file. */
class SafetensorsMutationTest {

  private static final JsonMapper TREE = new JsonMapper();
  private static final int MUTANTS = 200_000;
  private static final String EMPTY = ":{\"dtype\":\"U8\",\"shape\":[0],\"data_offsets\":[0,0]}";

  /** Files on which readers have failed; see SafetensorsFileTest for what ours says to each. */
  private static final List<byte[]> KNOWN_BAD =
      List.of(
          // An empty tensor in the middle of another's bytes (huntr F002).
          Golden.file(
              "{\"a\":{\"dtype\":\"U8\",\"shape\":[4],\"data_offsets\":[0,4]},"
                  + "\"b\":{\"dtype\":\"U8\",\"shape\":[0],\"data_offsets\":[2,2]}}",
              4),
          // One name twice: an auditor sees one tensor, a loader the other.
          Golden.file(
              "{\"a\":{\"dtype\":\"U8\",\"shape\":[4],\"data_offsets\":[0,4]},"
                  + "\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]}}",
              4),
          // A product that is 4 in 64 bits (safetensors-cpp).
          Golden.file(
              "{\"a\":{\"dtype\":\"U8\",\"shape\":[4194305,4194305,211106198978564],"
                  + "\"data_offsets\":[0,4]}}",
              4),
          // A shape beyond its bytes (MLX 3363).
          Golden.file("{\"a\":{\"dtype\":\"F32\",\"shape\":[1000],\"data_offsets\":[0,4]}}", 4),
          // Two tensors over the same bytes (the reference's attacks folder).
          Golden.file(
              "{\"a\":{\"dtype\":\"U8\",\"shape\":[4],\"data_offsets\":[0,4]},"
                  + "\"b\":{\"dtype\":\"U8\",\"shape\":[4],\"data_offsets\":[0,4]}}",
              4));

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

  @TempDir Path directory;

  /** In a JVM of its own with a heap of 64 MiB, all that it needs itself included. */
  @Test
  void twoHundredThousandMutants() throws Exception {
    long seed = System.nanoTime();
    Process child =
        new ProcessBuilder(
                Path.of(System.getProperty("java.home"), "bin", "java").toString(),
                "-Xmx64m",
                "-XX:+UseSerialGC",
                "-cp",
                System.getProperty("java.class.path"),
                SafetensorsMutationTest.class.getName(),
                Long.toString(seed),
                Integer.toString(MUTANTS))
            .redirectErrorStream(true)
            .start();
    String out = new String(child.getInputStream().readAllBytes(), StandardCharsets.UTF_8);
    assertThat(child.waitFor()).as("seed %d: %s", seed, out).isZero();
    String[] figures = out.strip().split(" ");
    // Some edits leave a valid file, so that the validator has work; most do not.
    assertThat(Integer.parseInt(figures[0])).as("accepted").isBetween(MUTANTS / 60, MUTANTS / 3);
    assertThat(Long.parseLong(figures[1])).as("slowest, ms").isLessThan(1000);
  }

  /** Seed and number; prints how many were accepted and how long the slowest took. */
  public static void main(String[] args) {
    fullHeaders();
    long[] slowest = new long[1];
    int accepted = mutate(Long.parseLong(args[0]), Integer.parseInt(args[1]), slowest);
    System.out.println(accepted + " " + slowest[0] / 1_000_000);
  }

  /** As much as a header may hold, and a little more than that. */
  private static void fullHeaders() {
    for (int nameLength : new int[] {8, 127, 140, 2000}) {
      int count = Math.min(90_000_000 / (nameLength + 60), SafetensorsHeader.MAX_TENSORS + 1);
      MemorySegment file = Arena.global().allocate(100_000_000);
      long at = 8;
      at = put(file, at, "{\"__metadata__\":{\"format\":\"pt\"}");
      for (int i = 0; i < count; i++) {
        String digits = Integer.toString(i);
        String name = "0".repeat(nameLength - digits.length()) + digits;
        at = put(file, at, ",\"" + name + "\"" + EMPTY);
      }
      at = put(file, at, "}");
      file.set(ValueLayout.JAVA_LONG_UNALIGNED, 0, at - 8);
      MemorySegment whole = file.asSlice(0, at);
      boolean fits =
          count <= SafetensorsHeader.MAX_TENSORS
              && (long) count * nameLength + 8 <= SafetensorsHeader.MAX_TEXT;
      try {
        assertThat(SafetensorsHeader.parse("full", whole).tensors()).hasSize(count);
        assertThat(fits).isTrue();
      } catch (CheckpointException e) {
        assertThat(fits).as(e.getMessage()).isFalse();
      }
    }
  }

  private static long put(MemorySegment file, long at, String text) {
    byte[] bytes = text.getBytes(StandardCharsets.ISO_8859_1);
    MemorySegment.copy(bytes, 0, file, ValueLayout.JAVA_BYTE, at, bytes.length);
    return at + bytes.length;
  }

  @Test
  void refusesTheKnownBadFiles() {
    for (byte[] bad : KNOWN_BAD) {
      assertThatThrownBy(() -> SafetensorsHeader.parse("bad", MemorySegment.ofArray(bad)))
          .isInstanceOf(CheckpointException.class);
    }
  }

  @Test
  void readsEveryValidFile() {
    long seed = System.nanoTime();
    Random random = new Random(seed);
    for (int i = 0; i < 5_000; i++) {
      byte[] bytes = valid(random);
      try {
        SafetensorsHeader header = SafetensorsHeader.parse("valid", MemorySegment.ofArray(bytes));
        assertThat(problem(header, bytes)).isEmpty();
      } catch (RuntimeException e) {
        throw new AssertionError(describe(seed, i, bytes), e);
      }
    }
  }

  @Test
  void aThousandMutantsOnDisk() {
    long seed = System.nanoTime();
    Random random = new Random(seed);
    for (int i = 0; i < 1_000; i++) {
      byte[] mutant = mutant(valid(), random);
      Path path = Golden.write(directory, "mutant", mutant);
      try (SafetensorsFile file = SafetensorsFile.open(path)) {
        for (String name : file.names()) {
          Golden.bytes(file.tensor(name));
        }
      } catch (CheckpointException expected) {
        assertThat(expected).hasMessageStartingWith(path.toString());
      } catch (RuntimeException e) {
        throw new AssertionError(describe(seed, i, mutant), e);
      }
    }
  }

  @Test
  void theValidatorRefusesWhatItShould() {
    byte[] bytes = valid();
    SafetensorsHeader header = SafetensorsHeader.parse("valid", MemorySegment.ofArray(bytes));
    assertThat(problem(header, bytes)).isEmpty();
    assertThat(problem(header, Arrays.copyOf(bytes, bytes.length - 1))).isNotEmpty();
    assertThat(problem(header, Arrays.copyOf(bytes, bytes.length + 1))).isNotEmpty();
    byte[] other =
        new String(bytes, StandardCharsets.ISO_8859_1)
            .replace("[2,2]", "[2,3]")
            .getBytes(StandardCharsets.ISO_8859_1);
    assertThat(problem(header, other)).isNotEmpty();
  }

  private static int mutate(long seed, int count, long[] slowest) {
    Random random = new Random(seed);
    int accepted = 0;
    for (int i = 0; i < count; i++) {
      byte[] mutant =
          mutant(
              switch (random.nextInt(8)) {
                case 0 -> KNOWN_BAD.get(random.nextInt(KNOWN_BAD.size()));
                case 1, 2, 3 -> valid(random);
                default -> valid();
              },
              random);
      long start = System.nanoTime();
      try {
        SafetensorsHeader header = SafetensorsHeader.parse("mutant", MemorySegment.ofArray(mutant));
        accepted++;
        assertThat(problem(header, mutant)).as(() -> "seed " + seed).isEmpty();
      } catch (CheckpointException expected) {
        assertThat(expected.getMessage()).startsWith("mutant: ");
      } catch (RuntimeException | Error e) {
        throw new AssertionError(describe(seed, i, mutant), e);
      }
      slowest[0] = Math.max(slowest[0], System.nanoTime() - start);
    }
    return accepted;
  }

  private static String describe(long seed, int index, byte[] mutant) {
    return "seed %d, mutant %d: %s".formatted(seed, index, HexFormat.of().formatHex(mutant));
  }

  private static byte[] valid() {
    return Golden.file(
        "{\"__metadata__\":{\"format\":\"pt\"},"
            + "\"a\":{\"dtype\":\"F32\",\"shape\":[2,2],\"data_offsets\":[0,16]},"
            + "\"empty\":{\"dtype\":\"U8\",\"shape\":[0],\"data_offsets\":[16,16]},"
            + "\"b\":{\"dtype\":\"BF16\",\"shape\":[1,3],\"data_offsets\":[16,22]},"
            + "\"c\":{\"dtype\":\"I64\",\"shape\":[],\"data_offsets\":[22,30]}}   ",
        30);
  }

  /** Up to six tensors of random types and shapes, in random order, with random spaces. */
  private static byte[] valid(Random random) {
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
  private static byte[] mutant(byte[] file, Random random) {
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

  /**
   * What is wrong with an accepted file, by other means than the reader's: the JSON as a tree, and
   * unbounded integers. Empty if nothing.
   */
  private static String problem(SafetensorsHeader header, byte[] file) {
    BigInteger length = new BigInteger(1, reversed(Arrays.copyOf(file, 8)));
    if (length.compareTo(BigInteger.valueOf(file.length - 8)) > 0) {
      return "header beyond the file";
    }
    JsonNode tree;
    try {
      tree = TREE.readTree(file, 8, length.intValueExact());
    } catch (JacksonException e) {
      return "no JSON: " + e.getMessage();
    }
    long names = tree.propertyNames().stream().filter(n -> !n.equals("__metadata__")).count();
    if (names != header.tensors().size()) {
      return "names " + tree.propertyNames() + ", read " + header.tensors().keySet();
    }
    int[] owners = new int[file.length];
    var seen = new TreeMap<>(header.tensors());
    for (TensorInfo info : seen.values()) {
      JsonNode entry = tree.get(info.name());
      String wrong = problem(info, entry, length.intValueExact() + 8, owners);
      if (!wrong.isEmpty()) {
        return info + ": " + wrong;
      }
    }
    for (int i = length.intValueExact() + 8; i < file.length; i++) {
      if (owners[i] != 1) {
        return "byte %d belongs to %d tensors".formatted(i, owners[i]);
      }
    }
    return "";
  }

  private static String problem(TensorInfo info, JsonNode entry, int dataStart, int[] owners) {
    BigInteger bytes = BigInteger.valueOf(DType.valueOf(entry.get("dtype").stringValue()).bytes());
    for (JsonNode dim : entry.get("shape")) {
      if (dim.bigIntegerValue().signum() < 0) {
        return "negative length";
      }
      bytes = bytes.multiply(dim.bigIntegerValue());
    }
    BigInteger begin = entry.get("data_offsets").get(0).bigIntegerValue();
    BigInteger end = entry.get("data_offsets").get(1).bigIntegerValue();
    if (!end.subtract(begin).equals(bytes)
        || !BigInteger.valueOf(info.bytes()).equals(bytes)
        || !BigInteger.valueOf(info.offset() - dataStart).equals(begin)) {
      return "entry " + entry;
    }
    for (long i = info.offset(); i < info.offset() + info.bytes(); i++) {
      if (i >= owners.length) {
        return "beyond the file";
      }
      owners[(int) i]++;
    }
    return "";
  }

  private static byte[] reversed(byte[] bytes) {
    byte[] reversed = new byte[bytes.length];
    for (int i = 0; i < bytes.length; i++) {
      reversed[i] = bytes[bytes.length - 1 - i];
    }
    return reversed;
  }
}
