package dev.gregale.config;

import dev.gregale.backend.BackendException;
import dev.gregale.engine.AsyncLlmEngine;
import java.time.Duration;
import java.util.concurrent.CancellationException;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;
import org.springframework.context.SmartLifecycle;
import org.springframework.core.env.Environment;

/**
 * Loads the model once the server listens, and drains the engine before the server stops: requests
 * that arrive meanwhile are told so instead of finding a closed port.
 */
final class EngineLifecycle implements SmartLifecycle {
  private static final Logger LOG = LoggerFactory.getLogger(EngineLifecycle.class);

  /** How long the loading of a layer may hold up the end of the process. */
  private static final Duration LAYER = Duration.ofSeconds(20);

  private final ModelStart model;
  private final AsyncLlmEngine engine;
  private final Environment environment;
  private final Thread loader = Thread.ofPlatform().name("model-loader").unstarted(this::load);
  private volatile boolean running;

  EngineLifecycle(ModelStart model, AsyncLlmEngine engine, Environment environment) {
    this.model = model;
    this.engine = engine;
    this.environment = environment;
  }

  @Override
  public void start() {
    running = true;
    var unused = engine.failure().thenAccept(EngineLifecycle::exitIfSticky);
    loader.start();
  }

  private void load() {
    try {
      model.run(this::requireRunning);
      LOG.info("Gregale serves {}; try it at {}/", engine.info().modelName(), address());
    } catch (RuntimeException | OutOfMemoryError e) {
      if (!running) {
        LOG.info("The server is told to stop: the model is not loaded any further");
        return;
      }
      ExitCode code = ExitCode.of(e);
      if (code == ExitCode.SOFTWARE) {
        LOG.error("gregale: the model could not be loaded: {}", e.toString(), e);
      } else { // the message is all there is to know
        LOG.error("gregale: the model could not be loaded: {}", e.getMessage());
      }
      exit(code);
    }
  }

  private void requireRunning() {
    if (!running) {
      throw new CancellationException();
    }
  }

  /** Ends the process for a supervisor to start it again where nothing else helps. */
  private static void exitIfSticky(Throwable failure) {
    if (failure instanceof BackendException e && e.isSticky()) {
      LOG.error("gregale: the device has failed for good and the process ends");
      exit(ExitCode.SOFTWARE);
    }
  }

  /** Not on the caller's thread, which is waited for when the server stops. */
  private static void exit(ExitCode code) {
    Thread.ofPlatform().name("exit").start(() -> System.exit(code.code()));
  }

  private String address() {
    return "http://%s:%s"
        .formatted(
            environment.getProperty("server.address", "localhost"),
            environment.getProperty("local.server.port", "8080"));
  }

  /**
   * Breaks off the loading, else stops taking requests and lets the running ones finish, while the
   * server still answers. What the loading writes to is freed only after this.
   */
  @Override
  public void stop() {
    running = false;
    try {
      if (!loader.join(LAYER)) {
        LOG.error("A layer of the model takes longer to load than {} s", LAYER.toSeconds());
      }
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
    }
    engine.close();
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

  /** Stopped before the web server, which stops in earlier phases than this. */
  @Override
  public int getPhase() {
    return DEFAULT_PHASE;
  }
}
