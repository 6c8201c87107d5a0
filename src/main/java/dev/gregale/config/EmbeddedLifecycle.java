package dev.gregale.config;

import dev.gregale.engine.AsyncLlmEngine;
import org.springframework.context.SmartLifecycle;

/**
 * Starts and stops the engine with the application that it is part of: the application has started
 * once the model can be asked, and fails to start if it cannot be.
 */
final class EmbeddedLifecycle implements SmartLifecycle {
  private final ModelStart model;
  private final AsyncLlmEngine engine;
  private volatile boolean running;

  EmbeddedLifecycle(ModelStart model, AsyncLlmEngine engine) {
    this.model = model;
    this.engine = engine;
  }

  @Override
  public void start() {
    model.run(() -> {});
    running = true;
  }

  /** Lets running requests finish, for the configured time. */
  @Override
  public void stop() {
    engine.close();
    running = false;
  }

  @Override
  public boolean isRunning() {
    return running;
  }

  /** An engine that was closed is not started again. */
  @Override
  public boolean isPauseable() {
    return false;
  }

  /** Before everything that may ask the model, and stopped after it. */
  @Override
  public int getPhase() {
    return Integer.MIN_VALUE;
  }
}
