package dev.gregale.engine;

import dev.gregale.scheduler.ScheduledBatch;

/**
 * How long steps take, for metrics and recordings. A step that was queued behind another counts
 * from that one's end on: so the times of all steps add up to that in which the model was busy.
 */
final class StepTimes {
  private final EngineMetrics metrics;
  private final StepEvent event = new StepEvent();
  private long startedAt;
  private long submittedAt;
  private long queuedAhead;

  StepTimes(EngineMetrics metrics) {
    this.metrics = metrics;
  }

  /**
   * A step is submitted.
   *
   * @param now when its scheduling began
   * @param isFirst whether no other is under way
   */
  void submitted(long now, boolean isFirst) {
    submittedAt = now;
    if (isFirst) {
      start(now, 0);
    }
  }

  private void start(long now, long queued) {
    startedAt = now;
    queuedAhead = queued;
    event.begin();
  }

  /**
   * A step's results have been taken over.
   *
   * @param drawn tokens that it drew
   * @param waiting sequences that wait now
   * @param isLast whether no other is under way
   */
  void completed(ScheduledBatch batch, int drawn, int waiting, boolean isLast) {
    long now = System.nanoTime();
    metrics.step(now - startedAt, batch.numTokens, drawn);
    event.end(); // commit() would take the first step's duration for every later one's
    if (event.shouldCommit()) {
      event.tokens = batch.numTokens;
      event.sequences = batch.numSeqs();
      event.drawn = drawn;
      event.waiting = waiting;
      event.queuedAhead = queuedAhead;
      event.commit();
    }
    if (!isLast) {
      start(now, now - submittedAt);
    }
  }
}
