package dev.gregale.convert;

import dev.gregale.convert.ConversionProgress.Phase;
import org.jspecify.annotations.Nullable;

/** Adds speed and time left to the progress of a conversion. Threads may share it. */
public final class ProgressMeter implements ConversionProgress.Listener {
  private @Nullable ConversionProgress latest;
  private long copyBegin;
  private long bytesBefore = -1; // what an interrupted run had done counts for no speed

  /**
   * How far a conversion is, and how fast.
   *
   * @param bytesPerSecond since the first tensor was written; 0 before
   * @param secondsLeft null while that cannot be told
   */
  public record Reading(
      ConversionProgress progress, long bytesPerSecond, @Nullable Long secondsLeft) {}

  @Override
  public synchronized void progress(ConversionProgress progress) {
    ConversionProgress before = latest;
    if (before != null
        && before.phase() == progress.phase()
        && before.bytesDone() > progress.bytesDone()) {
      return; // from a slower thread
    }
    latest = progress;
    if (bytesBefore < 0 && progress.phase() == Phase.COPY) {
      bytesBefore = progress.bytesDone();
      copyBegin = System.nanoTime();
    }
  }

  /** Null before the first progress. */
  public synchronized @Nullable Reading read() {
    ConversionProgress progress = latest;
    if (progress == null) {
      return null;
    }
    if (bytesBefore < 0 || progress.phase() != Phase.COPY) {
      return new Reading(progress, 0, null);
    }
    double seconds = Math.max(1, System.nanoTime() - copyBegin) / 1e9;
    double rate = (progress.bytesDone() - bytesBefore) / seconds;
    long left = progress.bytesTotal() - progress.bytesDone();
    return new Reading(progress, Math.round(rate), rate == 0 ? null : Math.round(left / rate));
  }
}
