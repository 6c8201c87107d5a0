package dev.gregale.convert;

import static org.assertj.core.api.Assertions.assertThat;

import dev.gregale.LoadCounts;
import dev.gregale.checkpoint.Checkpoint;
import dev.gregale.checkpoint.CheckpointLayout;
import java.io.BufferedReader;
import java.io.IOException;
import java.nio.channels.FileChannel;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Random;
import java.util.concurrent.locks.LockSupport;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** {@code kill -9} at random moments: what is visible is always whole. */
class ConversionKillTest {
  private static final int KILLS = LoadCounts.of(12, 100);
  private static final long SEED = 20260102;

  @TempDir private Path folder;

  /** The process that is killed. Tells each step on its standard output. */
  static final class Child {
    public static void main(String[] args) throws IOException {
      converter(System.out::println).convert(request(Path.of(args[0])), progress -> {});
    }
  }

  /** Slowed down, so that a kill meets the step that it is meant for. */
  private static CheckpointConverter converter(Runnable step) {
    Channels slow =
        (path, options) ->
            new FaultyChannel(
                FileChannel.open(path, options),
                (operation, bytes) -> {
                  step.run();
                  LockSupport.parkNanos(2_000_000);
                  return Integer.MAX_VALUE;
                });
    return new CheckpointConverter(slow, 60_000, null);
  }

  private static ConversionRequest request(Path target) {
    return Models.request(
        Models.ODD0.resolve("te"), target, CheckpointLayout.HUGGING_FACE, null, 150_000);
  }

  @Test
  void whatIsVisibleIsWholeAndTheRestGoesOn() throws Exception {
    Random random = new Random(SEED);
    Path target = folder.resolve("hf");
    int steps = stepsOfOneThatIsNotKilled(target);
    int killed = 0;
    int resumed = 0;
    for (int i = 0; killed < KILLS; i++) {
      assertThat(i).as("conversions that were not killed in time").isLessThan(3 * KILLS);
      Process child = start(target);
      int step = random.nextInt(steps) + 1;
      try (BufferedReader out = child.inputReader()) {
        for (int told = 0; told < step && out.readLine() != null; told++) {}
        LockSupport.parkNanos(random.nextInt(4_000_000));
        child.toHandle().destroyForcibly();
        int exitCode = child.waitFor();
        assertThat(exitCode).isIn(0, 128 + 9);
        killed += exitCode == 0 ? 0 : 1;
      }
      if (Files.exists(target)) {
        assertWhole(target);
        Models.remove(target);
      } else if (random.nextInt(3) == 0) { // else the next child goes on, and is killed, too
        resumed += Models.convert(request(target)).resumedBytes() > 0 ? 1 : 0;
        assertWhole(target);
        Models.remove(target);
        assertThat(folder).as("seed %d", SEED).isEmptyDirectory();
      }
    }
    assertThat(resumed).isPositive();
  }

  private static int stepsOfOneThatIsNotKilled(Path target) throws Exception {
    Process child = start(target);
    int steps;
    try (BufferedReader out = child.inputReader()) {
      steps = Math.toIntExact(out.lines().count());
    }
    assertThat(child.waitFor()).isZero();
    Models.remove(target);
    return steps;
  }

  private static Process start(Path target) throws IOException {
    return new ProcessBuilder(
            Path.of(System.getProperty("java.home"), "bin", "java").toString(),
            "-XX:TieredStopAtLevel=1",
            "-XX:+UseSerialGC",
            "-Xmx64m",
            "-cp",
            System.getProperty("java.class.path"),
            Child.class.getName(),
            target.toString())
        .redirectError(ProcessBuilder.Redirect.INHERIT)
        .start();
  }

  private static void assertWhole(Path target) throws IOException {
    for (int i = 1; i <= 8; i++) {
      String name = "model-%05d-of-00008.safetensors".formatted(i);
      Path expected = Models.ODD0.resolve("hf-sharded").resolve(name);
      assertThat(Files.mismatch(target.resolve(name), expected)).as(name).isEqualTo(-1);
    }
    try (Checkpoint checkpoint = Checkpoint.open(target)) {
      Manifest.read(target).verify(checkpoint);
    }
  }
}
