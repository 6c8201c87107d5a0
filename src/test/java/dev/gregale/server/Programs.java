package dev.gregale.server;

import java.io.IOException;
import java.nio.file.Path;
import java.util.concurrent.TimeUnit;

/** Programs that may or may not be on this machine. */
final class Programs {

  private Programs() {}

  /** Whether a command runs and ends with exit code 0 within a minute. */
  static boolean runs(String... command) throws InterruptedException {
    return runs(Path.of(""), command);
  }

  /** The same in a folder. */
  static boolean runs(Path folder, String... command) throws InterruptedException {
    try {
      Process process =
          new ProcessBuilder(command)
              .directory(folder.toAbsolutePath().toFile())
              .redirectErrorStream(true)
              .redirectOutput(ProcessBuilder.Redirect.DISCARD)
              .start();
      if (!process.waitFor(1, TimeUnit.MINUTES)) {
        process.destroyForcibly();
        return false;
      }
      return process.exitValue() == 0;
    } catch (IOException e) {
      return false; // there is no such program
    }
  }
}
