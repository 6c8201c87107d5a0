package dev.gregale.tokenizer;

import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Comparator;

/**
 * Settings that DJL reads from system properties when its native library loads.
 *
 * <p>Left alone, it would look for a CUDA build of the tokenizer on the network wherever a GPU is
 * visible, and report its start to its maker.
 */
final class DjlEnvironment {

  private static final String CACHE_DIR = "DJL_CACHE_DIR";

  private DjlEnvironment() {}

  /** Call before the first use of a DJL class. What the operator has set stays as it is. */
  static synchronized void prepare() {
    setIfAbsent("RUST_FLAVOR", "cpu");
    setIfAbsent("OPT_OUT_TRACKING", "true");
    System.setProperty("ai.djl.offline", "true");
    if (!isSet(CACHE_DIR) && !isSet("ENGINE_CACHE_DIR")) {
      Path byDefault = Path.of(System.getProperty("user.home"), ".djl.ai");
      System.setProperty(CACHE_DIR, cacheDirectory(byDefault).toString());
    }
  }

  /**
   * The directory itself where it can be written, else a new one that only this user can write: a
   * fixed name under a shared temporary directory would let others plant a native library.
   */
  static Path cacheDirectory(Path byDefault) {
    try {
      if (Files.isWritable(Files.createDirectories(byDefault))) {
        return byDefault;
      }
    } catch (IOException e) {
      // Read-only or no directory: falls through to the temporary one.
    }
    try {
      Path temporary = Files.createTempDirectory("gregale-djl-");
      Runtime.getRuntime().addShutdownHook(new Thread(() -> deleteTree(temporary)));
      return temporary;
    } catch (IOException e) {
      throw new UncheckedIOException(
          "neither "
              + byDefault
              + " nor the temporary directory can be written, so the native tokenizer cannot be"
              + " unpacked; set "
              + CACHE_DIR
              + " to a writable directory",
          e);
    }
  }

  private static void deleteTree(Path root) {
    try (var paths = Files.walk(root)) {
      paths.sorted(Comparator.reverseOrder()).forEach(path -> path.toFile().delete());
    } catch (IOException e) {
      // At exit: what is left is the temporary directory's keeper's to clear.
    }
  }

  private static void setIfAbsent(String name, String value) {
    if (!isSet(name)) {
      System.setProperty(name, value);
    }
  }

  private static boolean isSet(String name) {
    return System.getenv(name) != null || System.getProperty(name) != null;
  }
}
