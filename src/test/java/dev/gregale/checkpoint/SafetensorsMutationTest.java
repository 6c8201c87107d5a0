package dev.gregale.checkpoint;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.HexFormat;
import java.util.List;
import java.util.Random;
import java.util.stream.IntStream;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** Broken files cost a {@link CheckpointException} and never a range outside the file. */
@Tag("counts")
class SafetensorsMutationTest {

  private static final int MUTANTS = 200_000;
  private static final int PARTS = 8; // with a seed each
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
    long seed = Long.parseLong(args[0]);
    int each = Integer.parseInt(args[1]) / PARTS;
    List<Outcome> parts =
        IntStream.range(0, PARTS).parallel().mapToObj(part -> mutate(seed + part, each)).toList();
    int accepted = parts.stream().mapToInt(Outcome::accepted).sum();
    long slowest = parts.stream().mapToLong(Outcome::slowestNanos).max().orElseThrow();
    System.out.println(accepted + " " + slowest / 1_000_000);
  }

  /**
   * @param accepted mutants that are files
   */
  private record Outcome(int accepted, long slowestNanos) {}

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
      byte[] bytes = SafetensorsMutator.valid(random);
      try {
        SafetensorsHeader header = SafetensorsHeader.parse("valid", MemorySegment.ofArray(bytes));
        assertThat(SafetensorsValidator.problem(header, bytes)).isEmpty();
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
      byte[] mutant = SafetensorsMutator.mutant(SafetensorsMutator.valid(), random);
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
    byte[] bytes = SafetensorsMutator.valid();
    SafetensorsHeader header = SafetensorsHeader.parse("valid", MemorySegment.ofArray(bytes));
    assertThat(SafetensorsValidator.problem(header, bytes)).isEmpty();
    assertThat(SafetensorsValidator.problem(header, Arrays.copyOf(bytes, bytes.length - 1)))
        .isNotEmpty();
    assertThat(SafetensorsValidator.problem(header, Arrays.copyOf(bytes, bytes.length + 1)))
        .isNotEmpty();
    byte[] other =
        new String(bytes, StandardCharsets.ISO_8859_1)
            .replace("[2,2]", "[2,3]")
            .getBytes(StandardCharsets.ISO_8859_1);
    assertThat(SafetensorsValidator.problem(header, other)).isNotEmpty();
  }

  private static Outcome mutate(long seed, int count) {
    Random random = new Random(seed);
    int accepted = 0;
    long slowest = 0;
    for (int i = 0; i < count; i++) {
      byte[] mutant =
          SafetensorsMutator.mutant(
              switch (random.nextInt(8)) {
                case 0 -> KNOWN_BAD.get(random.nextInt(KNOWN_BAD.size()));
                case 1, 2, 3 -> SafetensorsMutator.valid(random);
                default -> SafetensorsMutator.valid();
              },
              random);
      long start = System.nanoTime();
      try {
        SafetensorsHeader header = SafetensorsHeader.parse("mutant", MemorySegment.ofArray(mutant));
        accepted++;
        assertThat(SafetensorsValidator.problem(header, mutant)).as(() -> "seed " + seed).isEmpty();
      } catch (CheckpointException expected) {
        assertThat(expected.getMessage()).startsWith("mutant: ");
      } catch (RuntimeException | Error e) {
        throw new AssertionError(describe(seed, i, mutant), e);
      }
      slowest = Math.max(slowest, System.nanoTime() - start);
    }
    return new Outcome(accepted, slowest);
  }

  private static String describe(long seed, int index, byte[] mutant) {
    return "seed %d, mutant %d: %s".formatted(seed, index, HexFormat.of().formatHex(mutant));
  }
}
