package dev.gregale.cli;

import dev.gregale.convert.ConversionProgress;
import dev.gregale.convert.ProgressMeter;
import java.io.PrintStream;
import java.util.Locale;
import java.util.concurrent.TimeUnit;

/** One line on a terminal, redrawn; a line now and then elsewhere. */
final class ProgressBar implements ConversionProgress.Listener, AutoCloseable {
  private static final int WIDTH = 30;
  private static final long REDRAW_NANOS = TimeUnit.MILLISECONDS.toNanos(100);
  private static final long LINE_NANOS = TimeUnit.SECONDS.toNanos(10);

  private final PrintStream out;
  private final boolean terminal = System.console() != null && System.console().isTerminal();
  private final ProgressMeter meter = new ProgressMeter();
  private long last = System.nanoTime();
  private boolean drawn;

  ProgressBar(PrintStream out) {
    this.out = out;
  }

  @Override
  public synchronized void progress(ConversionProgress progress) {
    meter.progress(progress);
    long now = System.nanoTime();
    ProgressMeter.Reading reading = meter.read();
    if (reading != null && now - last >= (terminal ? REDRAW_NANOS : LINE_NANOS)) {
      last = now;
      draw(reading);
    }
  }

  private void draw(ProgressMeter.Reading reading) {
    ConversionProgress progress = reading.progress();
    double part =
        progress.bytesTotal() == 0 ? 1 : 1.0 * progress.bytesDone() / progress.bytesTotal();
    int full = (int) (part * WIDTH);
    String line =
        "%-7s [%s%s] %3.0f%% %6.0f MB/s %s"
            .formatted(
                progress.phase().name().toLowerCase(Locale.ROOT),
                "=".repeat(full),
                " ".repeat(WIDTH - full),
                100 * part,
                reading.bytesPerSecond() / 1e6,
                reading.secondsLeft() == null ? "" : left(reading.secondsLeft()));
    if (terminal) {
      out.print("\r" + line + "\u001b[K"); // erases what a longer line left
      out.flush();
    } else {
      out.println(line);
    }
    drawn = true;
  }

  private static String left(long seconds) {
    return "%d:%02d left".formatted(seconds / 60, seconds % 60);
  }

  @Override
  public void close() {
    if (drawn && terminal) {
      out.println();
    }
  }
}
