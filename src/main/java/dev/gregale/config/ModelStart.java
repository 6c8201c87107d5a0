package dev.gregale.config;

import dev.gregale.engine.AsyncLlmEngine;
import dev.gregale.model.ModelRunner;
import java.time.Duration;

/** Loads the model, warms it up and starts the engine. */
final class ModelStart {
  private static final Duration WARM_UP = Duration.ofSeconds(2);
  private static final Duration WARM_UP_OF_DEVICE = Duration.ofMillis(300); // no kernel is compiled

  private final ModelAssembly assembly;
  private final AsyncLlmEngine engine;
  private final DeferredRunner runner;

  ModelStart(ModelAssembly assembly, AsyncLlmEngine engine, DeferredRunner runner) {
    this.assembly = assembly;
    this.engine = engine;
    this.runner = runner;
  }

  /**
   * @param atPause called again and again, after each layer for example; what it throws breaks the
   *     start off
   */
  void run(Runnable atPause) {
    ModelRunner model = assembly.runner(assembly.load(atPause), assembly.backend().kernels());
    new StepLoop(assembly.limits(), assembly.config().vocabSize(), model)
        .warmUp(assembly.backend().isAsynchronous() ? WARM_UP_OF_DEVICE : WARM_UP, atPause);
    runner.complete(model);
    engine.start();
  }
}
