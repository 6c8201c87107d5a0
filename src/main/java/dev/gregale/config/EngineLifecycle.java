package dev.gregale.config;

import dev.gregale.engine.AsyncLlmEngine;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;
import org.springframework.context.SmartLifecycle;

/**
 * Loads the model once the server listens, and drains the engine before the server stops: requests
 * that arrive meanwhile are told so instead of finding a closed port.
 */
final class EngineLifecycle implements SmartLifecycle {
  private static final Logger LOG = LoggerFactory.getLogger(EngineLifecycle.class);
  private final ModelAssembly assembly;
  private final AsyncLlmEngine engine;
  private final DeferredRunner runner;
  private volatile boolean running;

  EngineLifecycle(ModelAssembly assembly, AsyncLlmEngine engine, DeferredRunner runner) {
    this.assembly = assembly;
    this.engine = engine;
    this.runner = runner;
  }

  @Override
  public void start() {
    running = true;
    Thread.ofPlatform().name("model-loader").start(this::load);
  }

  private void load() {
    try {
      runner.complete(assembly.runner(assembly.load(), assembly.backend().kernels())::run);
      engine.start();
      LOG.info("Gregale serves {}", assembly.name());
    } catch (RuntimeException | OutOfMemoryError e) {
      LOG.error("gregale: the model could not be loaded: {}", e.toString(), e);
      System.exit(ExitCode.SOFTWARE.code());
    }
  }

  /** Stops taking requests and lets the running ones finish, while the server still answers. */
  @Override
  public void stop() {
    engine.close();
    running = false;
  }

  @Override
  public boolean isRunning() {
    return running;
  }

  /** Stopped before the web server, which stops in earlier phases than this. */
  @Override
  public int getPhase() {
    return DEFAULT_PHASE;
  }
}
