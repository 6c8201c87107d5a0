package dev.gregale.config;

import dev.gregale.backend.Backend;
import dev.gregale.config.ModelAssembly.LoadedModel;
import dev.gregale.engine.AsyncLlmEngine;
import dev.gregale.model.ModelRunner;
import java.time.Duration;

/** Loads the model on each replica, warms it up and starts the engine. */
final class ModelStart {
  private static final Duration WARM_UP = Duration.ofSeconds(2);
  private static final Duration WARM_UP_OF_DEVICE = Duration.ofMillis(300); // no kernel is compiled

  private final ModelAssembly assembly;
  private final AsyncLlmEngine engine;
  private final DeferredRunners replicas;

  ModelStart(ModelAssembly assembly, AsyncLlmEngine engine, DeferredRunners replicas) {
    this.assembly = assembly;
    this.engine = engine;
    this.replicas = replicas;
  }

  /**
   * @param atPause called again and again, after each layer for example; what it throws breaks the
   *     start off
   */
  void run(Runnable atPause) {
    for (int i = 0; i < replicas.all().size(); i++) {
      LoadedModel loaded = assembly.load(i, atPause);
      Backend backend = loaded.backend();
      ModelRunner model = assembly.runner(loaded, backend.kernels());
      new StepLoop(assembly.limits(), assembly.config().vocabSize(), model)
          .warmUp(backend.isAsynchronous() ? WARM_UP_OF_DEVICE : WARM_UP, atPause);
      replicas.all().get(i).complete(model);
    }
    engine.start();
  }
}
