package dev.gregale.convert;

import static org.assertj.core.api.Assertions.assertThat;

import dev.gregale.GregaleApplication;
import dev.gregale.checkpoint.CheckpointLayout;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Collections;
import java.util.List;
import java.util.Map;
import java.util.concurrent.TimeUnit;
import java.util.stream.Stream;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/**
 * Two layers of Mixtral-8x7B, 6.3 GB: memory and speed of the command as users start it. Takes 20
 * GB of disk; figures are for a machine with nothing else to do.
 */
@Tag("load")
class LargeConversionTest {
  private static final int ROUNDS = 3;
  private static final long MAX_ANONYMOUS_BYTES = 256L << 20;
  @TempDir private Path folder;

  @Test
  void fitsInLittleMemoryAndKeepsUpWithCp() throws Exception {
    Path hf = folder.resolve("hf");
    Path te = folder.resolve("te");
    LargeModel.write(hf, 2);
    Path weights = hf.resolve("model.safetensors");
    double megabytes = Files.size(weights) / 1e6;
    List<Double> ratios = new ArrayList<>();
    for (int round = 0; round < ROUNDS; round++) {
      run("cat '%s' > /dev/null; sync".formatted(weights)); // in the page cache, for both
      double cp = run("cp '%s' '%s/copy'; sync '%2$s/copy'".formatted(weights, folder));
      Files.delete(folder.resolve("copy"));
      run("cat '%s' > /dev/null; sync".formatted(weights));
      double convert = convert(hf, te);
      ratios.add(cp / convert);
      System.out.printf(
          "cp and sync %.0f MB/s, convert %.0f MB/s%n", megabytes / cp, megabytes / convert);
      if (round + 1 < ROUNDS) {
        Models.remove(te);
      }
    }
    Collections.sort(ratios);
    assertThat(ratios.get(ROUNDS / 2)).isGreaterThan(0.7);
    Path back = folder.resolve("back");
    convert(te, back);
    Models.remove(te);
    assertThat(sums(back)).isEqualTo(sums(hf));
  }

  /** SHA-256 of every tensor, by way of a conversion that changes nothing. */
  private Map<String, Manifest.Sum> sums(Path model) throws IOException {
    Path copy = folder.resolve("copy-of-" + model.getFileName());
    Models.convert(Models.request(model, copy, CheckpointLayout.HUGGING_FACE, null, 1L << 40));
    Map<String, Manifest.Sum> sums = Manifest.read(copy).tensors();
    Models.remove(copy);
    return sums;
  }

  /** Seconds of a shell command. */
  private static double run(String command) throws Exception {
    long start = System.nanoTime();
    assertThat(new ProcessBuilder("sh", "-c", command).inheritIO().start().waitFor()).isZero();
    return (System.nanoTime() - start) / 1e9;
  }

  /** Seconds of the command with a small heap; its memory beside mapped files is watched. */
  private static double convert(Path from, Path to) throws Exception {
    long start = System.nanoTime();
    Process process =
        new ProcessBuilder(
                Path.of(System.getProperty("java.home"), "bin", "java").toString(),
                "-Xmx64m",
                "--add-modules=jdk.incubator.vector",
                "-cp",
                System.getProperty("java.class.path"),
                GregaleApplication.class.getName(),
                "convert",
                from.toString(),
                to.toString())
            .inheritIO()
            .start();
    long anonymous = 0;
    while (!process.waitFor(20, TimeUnit.MILLISECONDS)) {
      anonymous = Math.max(anonymous, anonymousBytes(process.pid()));
    }
    double seconds = (System.nanoTime() - start) / 1e9;
    assertThat(process.exitValue()).isZero();
    System.out.printf("memory beside mapped files: %d MiB%n", anonymous >> 20);
    assertThat(anonymous).isBetween(1L << 20, MAX_ANONYMOUS_BYTES);
    return seconds;
  }

  private static long anonymousBytes(long pid) {
    try (Stream<String> lines = Files.lines(Path.of("/proc/" + pid + "/status"))) {
      return lines
          .filter(line -> line.startsWith("RssAnon:"))
          .mapToLong(line -> Long.parseLong(line.replaceAll("[^0-9]", "")) << 10)
          .findFirst()
          .orElse(0);
    } catch (IOException | UncheckedIOException e) {
      return 0; // it has ended
    }
  }
}
