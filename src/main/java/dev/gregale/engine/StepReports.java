package dev.gregale.engine;

import java.util.concurrent.ArrayBlockingQueue;
import java.util.concurrent.BlockingQueue;

/**
 * The bounded hand-over between loop and output thread: a few reports that go round. The loop waits
 * only if the output thread is that many steps behind.
 */
final class StepReports {
  private final BlockingQueue<StepReport> free;
  private final BlockingQueue<StepReport> filled;

  StepReports(int count, int maxRows, int topN) {
    free = new ArrayBlockingQueue<>(count);
    filled = new ArrayBlockingQueue<>(count);
    for (int i = 0; i < count; i++) {
      free.add(new StepReport(maxRows, topN));
    }
  }

  /** For the loop: an empty report. */
  StepReport takeFree() throws InterruptedException {
    return free.take();
  }

  /** From the loop: there is always room. */
  void handOver(StepReport report) {
    filled.add(report);
  }

  /** For the output thread: the next report. */
  StepReport takeFilled() throws InterruptedException {
    return filled.take();
  }

  /** From the output thread. */
  void giveBack(StepReport report) {
    report.clear();
    free.add(report);
  }
}
