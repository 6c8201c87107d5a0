package dev.gregale.engine;

import dev.gregale.model.StepOutput;
import dev.gregale.model.StepRunner;
import dev.gregale.scheduler.ScheduledBatch;

/** A model with as many steps under way as a test wants. */
record InFlight(StepRunner model, int maxInFlight) implements StepRunner {
  @Override
  public void submit(ScheduledBatch batch) {
    model.submit(batch);
  }

  @Override
  public StepOutput await() {
    return model.await();
  }
}
