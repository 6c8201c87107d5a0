package dev.gregale.server;

import static org.junit.jupiter.api.Assumptions.assumeTrue;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.util.List;

/** The scripts of {@code src/test/node} where they can be run, with the npm packages they need. */
public final class NodePackages {
  private static final Path SOURCE = Path.of("src/test/node");
  private static final Path FOLDER = Path.of("target/node");

  /** Tried once in a run of the tests: without a network it takes its time to fail. */
  private static final class Installation {
    static final boolean IS_DONE = install();
  }

  private NodePackages() {}

  /**
   * A command that runs a script. Skips the test where that is impossible.
   *
   * @param what is not tested then
   */
  public static ProcessBuilder script(String name, String what, String... arguments)
      throws IOException, InterruptedException {
    assumeTrue(
        Programs.runs("node", "--version"),
        "node is not installed (Debian: nodejs): %s is not tested".formatted(what));
    assumeTrue(
        Installation.IS_DONE,
        "npm ci failed in target/node (no npm, or no registry): %s is not tested".formatted(what));
    Files.copy(SOURCE.resolve(name), FOLDER.resolve(name), StandardCopyOption.REPLACE_EXISTING);
    ProcessBuilder command = new ProcessBuilder("node", name).directory(FOLDER.toFile());
    command.command().addAll(List.of(arguments));
    return command;
  }

  /** Installs the packages of the lock file, once for each version of it. */
  private static boolean install() {
    Path lock = FOLDER.resolve("package-lock.json");
    Path wanted = SOURCE.resolve("package-lock.json");
    try {
      if (Files.exists(lock) && Files.mismatch(lock, wanted) < 0) {
        return true;
      }
      Files.createDirectories(FOLDER);
      Path manifest = FOLDER.resolve("package.json");
      Files.copy(SOURCE.resolve("package.json"), manifest, StandardCopyOption.REPLACE_EXISTING);
      Files.copy(wanted, lock, StandardCopyOption.REPLACE_EXISTING);
      if (Programs.runs(FOLDER, "npm", "ci", "--ignore-scripts", "--fetch-retries=0")) {
        return true;
      }
      Files.delete(lock); // so that the next run tries again
      return false;
    } catch (IOException | InterruptedException e) {
      throw new IllegalStateException("target/node cannot be made", e);
    }
  }
}
