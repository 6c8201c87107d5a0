package dev.gregale.engine;

import dev.gregale.model.StepOutput;
import dev.gregale.model.StepRunner;
import dev.gregale.scheduler.ScheduledBatch;
import dev.gregale.scheduler.Scheduler;
import dev.gregale.scheduler.SchedulerConfig;
import org.jspecify.annotations.Nullable;

/**
 * Steps on their way from the scheduler through the model, one after the other. Where the runner
 * takes two, the next step is scheduled and queued while one runs, so that the device does not wait
 * for the host; behind a step whose tokens the next one has to know, it is not. For one thread.
 */
public final class StepPipeline {
  private static final int MAX_IN_FLIGHT = 2;

  private final Scheduler scheduler;
  private final StepRunner runner;
  private final ScheduledBatch[] batches = new ScheduledBatch[MAX_IN_FLIGHT];
  private int oldest;
  private int numInFlight;

  /**
   * @param config the scheduler's
   */
  public StepPipeline(Scheduler scheduler, SchedulerConfig config, StepRunner runner) {
    this.scheduler = scheduler;
    this.runner = runner;
    for (int i = 0; i < MAX_IN_FLIGHT; i++) {
      batches[i] = config.newBatch();
    }
  }

  /** Whether no step is under way. */
  public boolean isEmpty() {
    return numInFlight == 0;
  }

  /** Whether a step must be completed before another can be scheduled. */
  public boolean isFull() {
    return numInFlight == Math.min(runner.maxInFlight(), MAX_IN_FLIGHT)
        || numInFlight > 0 && batch(numInFlight - 1).needsHistory;
  }

  private ScheduledBatch batch(int index) {
    return batches[(oldest + index) % MAX_IN_FLIGHT];
  }

  /**
   * Schedules the next step, which {@link #submit} then has to follow.
   *
   * @return null if the pipeline is full, or nothing can be scheduled before it moves on
   */
  public @Nullable ScheduledBatch schedule() {
    if (isFull()) {
      return null;
    }
    ScheduledBatch batch = batch(numInFlight);
    scheduler.schedule(batch);
    return batch.isEmpty() ? null : batch;
  }

  /**
   * Submits the step that was just scheduled.
   *
   * @throws RuntimeException as {@link StepRunner#submit}; the step is then not under way
   */
  public void submit() {
    runner.submit(batch(numInFlight));
    numInFlight++;
  }

  /** The step that {@link #await} waits for; its batch stays until the next {@link #schedule}. */
  public ScheduledBatch oldest() {
    return batch(0);
  }

  /**
   * Waits for the oldest step and takes it off; {@link Scheduler#update} has to follow before the
   * next {@link #schedule}.
   *
   * @throws RuntimeException if the step failed; it is taken off all the same
   */
  public StepOutput await() {
    oldest = (oldest + 1) % MAX_IN_FLIGHT;
    numInFlight--;
    return runner.await();
  }

  /**
   * Runs a token of nobody's while no step is under way, to find out whether the model still works.
   *
   * @throws RuntimeException if it does not
   */
  public void probe() {
    ScheduledBatch batch = batch(0);
    scheduler.scheduleProbe(batch);
    runner.submit(batch);
    runner.await();
    batch.clear();
  }
}
