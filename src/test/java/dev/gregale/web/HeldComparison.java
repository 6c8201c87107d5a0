package dev.gregale.web;

import dev.gregale.convert.LogitsDifference;
import dev.gregale.convert.ModelComparison;
import java.io.IOException;
import java.nio.file.Path;
import java.util.concurrent.Semaphore;
import java.util.concurrent.TimeUnit;

/** Holds a conversion that compares logits until a test lets it go on. */
final class HeldComparison implements ModelComparison {
  private final Semaphore permits = new Semaphore(0);
  private final LogitsDifference found;

  HeldComparison(LogitsDifference found) {
    this.found = found;
  }

  @Override
  public LogitsDifference compare(Path source, Path converted) throws IOException {
    try {
      if (!permits.tryAcquire(30, TimeUnit.SECONDS)) {
        throw new IOException("the test has not let go");
      }
    } catch (InterruptedException e) {
      throw new IOException(e);
    }
    return found;
  }

  /** Lets that many go on, now or when they come. */
  void letGo(int count) {
    permits.release(count);
  }

  /** Holds all that come from now on. */
  void holdAll() {
    permits.drainPermits();
  }
}
