package dev.gregale.model;

import dev.gregale.scheduler.ScheduledBatch;

/** The model as those see it who schedule for it: steps go in, their results come out in order. */
public interface StepRunner {

  /**
   * Steps that may be under way at once: 2 where the next step is best queued while one runs, 1
   * where that would only delay results.
   */
  int maxInFlight();

  /**
   * Queues a step behind those under way. The batch may change as soon as this returns.
   *
   * @throws RuntimeException if the step cannot run; it is then not under way
   */
  void submit(ScheduledBatch batch);

  /**
   * Waits for the oldest step that is under way, which then no longer is.
   *
   * @return one row per row of logits; valid until the next {@link #submit}
   * @throws RuntimeException if the step failed
   */
  StepOutput await();
}
