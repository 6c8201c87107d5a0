package dev.gregale.config;

import dev.gregale.model.StepOutput;
import dev.gregale.model.StepRunner;
import dev.gregale.scheduler.ScheduledBatch;
import java.util.concurrent.CompletableFuture;

/** The model's runner, which exists only once the weights are loaded. */
final class DeferredRunner implements StepRunner {
  private final CompletableFuture<StepRunner> runner = new CompletableFuture<>();

  void complete(StepRunner loaded) {
    runner.complete(loaded);
  }

  /** The engine starts after {@link #complete}, so this never waits. */
  private StepRunner runner() {
    return runner.join();
  }

  @Override
  public int maxInFlight() {
    return runner().maxInFlight();
  }

  @Override
  public void submit(ScheduledBatch batch) {
    runner().submit(batch);
  }

  @Override
  public StepOutput await() {
    return runner().await();
  }
}
