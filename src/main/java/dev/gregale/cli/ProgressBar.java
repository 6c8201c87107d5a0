package dev.gregale.cli;

import dev.gregale.convert.ConversionProgress;
import java.io.PrintStream;
import java.util.concurrent.TimeUnit;

/** One line on a terminal, redrawn; a line now and then elsewhere. */
final class ProgressBar implements ConversionProgress.Listener, AutoCloseable {
  private static final int WIDTH = 30;
  private static final long REDRAW_NANOS = TimeUnit.MILLISECONDS.toNanos(100);
  private static final long LINE_NANOS = TimeUnit.SECONDS.toNanos(10);

  private final PrintStream out;
  private final boolean terminal = System.console() != null && System.console().isTerminal();
  private final long start = System.nanoTime();
  private long last = start;
  private long bytesBefore = -1; // what an interrupted run had done counts for no speed
  private boolean drawn;

  ProgressBar(PrintStream out) {
    this.out = out;
  }

  @Override
  public synchronized void progress(ConversionProgress progress) {
    if (bytesBefore < 0 && progress.phase() == ConversionProgress.Phase.COPY) {
      bytesBefore = progress.bytesDone();
    }
    long now = System.nanoTime();
    if (now - last >= (terminal ? REDRAW_NANOS : LINE_NANOS)) {
      last = now;
      draw(progress, (now - start) / 1e9);
    }
  }

  private void draw(ConversionProgress progress, double seconds) {
    double part =
        progress.bytesTotal() == 0 ? 1 : 1.0 * progress.bytesDone() / progress.bytesTotal();
    double rate = Math.max(0, progress.bytesDone() - Math.max(0, bytesBefore)) / seconds;
    int full = (int) (part * WIDTH);
    String line =
        "%-7s [%s%s] %3.0f%% %6.0f MB/s %s"
            .formatted(
                progress.phase().name().toLowerCase(java.util.Locale.ROOT),
                "=".repeat(full),
                " ".repeat(WIDTH - full),
                100 * part,
                rate / 1e6,
                rate == 0 ? "" : left((progress.bytesTotal() - progress.bytesDone()) / rate));
    if (terminal) {
      out.print("\r" + line + "\u001b[K"); // erases what a longer line left
      out.flush();
    } else {
      out.println(line);
    }
    drawn = true;
  }

  private static String left(double seconds) {
    long whole = Math.round(seconds);
    return "%d:%02d left".formatted(whole / 60, whole % 60);
  }

  @Override
  public void close() {
    if (drawn && terminal) {
      out.println();
    }
  }
}
