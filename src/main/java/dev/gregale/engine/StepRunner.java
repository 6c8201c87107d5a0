package dev.gregale.engine;

import dev.gregale.model.StepOutput;
import dev.gregale.scheduler.ScheduledBatch;

/** The model as the engine sees it. Called by the loop's thread only. */
@FunctionalInterface
public interface StepRunner {

  /**
   * Computes a batch.
   *
   * @return one row per row of logits; may be the same object every time, read before the next call
   * @throws RuntimeException if the step failed: its requests fail, and so does the engine if a
   *     probe of one token (with slot -1) fails as well
   * @throws Error if the model is unusable: the engine fails at once
   */
  StepOutput run(ScheduledBatch batch);
}
