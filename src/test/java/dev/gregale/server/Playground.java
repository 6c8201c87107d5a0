package dev.gregale.server;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import java.io.BufferedReader;
import java.io.File;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.TimeUnit;
import java.util.function.Consumer;
import java.util.stream.Stream;
import org.jspecify.annotations.Nullable;

/** The playground in headless Chromium, through {@code src/test/node/playground.mjs}. */
public final class Playground {
  private static final String WHAT = "the playground";

  private Playground() {}

  /** What Debian and others call it, where it is on the PATH. */
  private static @Nullable Path chromium() {
    return Stream.of("chromium", "chromium-browser", "google-chrome")
        .flatMap(
            name ->
                Stream.of(System.getenv().getOrDefault("PATH", "").split(File.pathSeparator))
                    .map(folder -> Path.of(folder, name)))
        .filter(Files::isExecutable)
        .findFirst()
        .orElse(null);
  }

  /**
   * Has a reader do something, or skips the test where there is no browser.
   *
   * @param said is told each line that the script says
   * @param arguments that the scenario needs
   */
  public static void run(int port, String scenario, Consumer<String> said, String... arguments)
      throws IOException, InterruptedException {
    Path chromium = chromium();
    assumeTrue(
        chromium != null,
        "chromium is not installed (Debian: chromium): %s is not tested".formatted(WHAT));
    List<String> all = new ArrayList<>();
    all.addAll(List.of(String.valueOf(chromium), "http://127.0.0.1:" + port + "/", scenario));
    all.addAll(List.of(arguments));
    ProcessBuilder command =
        NodePackages.script("playground.mjs", WHAT, all.toArray(String[]::new));
    Process node = command.redirectErrorStream(true).start();
    StringBuilder output = new StringBuilder();
    try (BufferedReader lines = node.inputReader()) {
      for (String line = lines.readLine(); line != null; line = lines.readLine()) {
        output.append(line).append('\n');
        said.accept(line);
      }
      assertTrue(node.waitFor(10, TimeUnit.SECONDS), scenario + " does not end");
      assertEquals(0, node.exitValue(), scenario + ":\n" + output);
    } finally {
      node.destroyForcibly();
    }
  }
}
