package dev.gregale.config;

import dev.gregale.engine.StepRunner;
import dev.gregale.model.StepOutput;
import dev.gregale.scheduler.ScheduledBatch;
import java.util.concurrent.CompletableFuture;

/** The model's runner, which exists only once the weights are loaded. */
final class DeferredRunner implements StepRunner {
  private final CompletableFuture<StepRunner> runner = new CompletableFuture<>();

  void complete(StepRunner loaded) {
    runner.complete(loaded);
  }

  /** The engine starts after {@link #complete}, so this never waits. */
  @Override
  public StepOutput run(ScheduledBatch batch) {
    return runner.join().run(batch);
  }
}
