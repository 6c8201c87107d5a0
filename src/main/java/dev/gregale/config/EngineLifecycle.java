package dev.gregale.config;

import dev.gregale.backend.BackendException;
import dev.gregale.engine.AsyncLlmEngine;
import dev.gregale.model.ModelRunner;
import java.time.Duration;
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
  private static final Duration WARM_UP = Duration.ofSeconds(2);
  private static final Duration WARM_UP_OF_DEVICE = Duration.ofMillis(300); // no kernel is compiled

  private final ModelAssembly assembly;
  private final AsyncLlmEngine engine;
  private final DeferredRunner runner;
  private final Environment environment;
  private volatile boolean running;

  EngineLifecycle(
      ModelAssembly assembly,
      AsyncLlmEngine engine,
      DeferredRunner runner,
      Environment environment) {
    this.assembly = assembly;
    this.engine = engine;
    this.runner = runner;
    this.environment = environment;
  }

  @Override
  public void start() {
    running = true;
    var unused = engine.failure().thenAccept(EngineLifecycle::exitIfSticky);
    Thread.ofPlatform().name("model-loader").start(this::load);
  }

  private void load() {
    try {
      ModelRunner model = assembly.runner(assembly.load(), assembly.backend().kernels());
      new StepLoop(assembly.limits(), assembly.config().vocabSize(), model)
          .warmUp(assembly.backend().isAsynchronous() ? WARM_UP_OF_DEVICE : WARM_UP);
      runner.complete(model);
      engine.start();
      LOG.info("Gregale serves {}; try it at {}/", assembly.name(), address());
    } catch (RuntimeException | OutOfMemoryError e) {
      ExitCode code = ExitCode.of(e);
      if (code == ExitCode.SOFTWARE) {
        LOG.error("gregale: the model could not be loaded: {}", e.toString(), e);
      } else { // the message is all there is to know
        LOG.error("gregale: the model could not be loaded: {}", e.getMessage());
      }
      System.exit(code.code());
    }
  }

  /** Ends the process for a supervisor to start it again where nothing else helps. */
  private static void exitIfSticky(Throwable failure) {
    if (failure instanceof BackendException e && e.isSticky()) {
      LOG.error("gregale: the device has failed for good and the process ends");
      // Not on this thread, which the engine waits for when it is closed.
      Thread.ofPlatform().name("exit").start(() -> System.exit(ExitCode.SOFTWARE.code()));
    }
  }

  private String address() {
    return "http://%s:%s"
        .formatted(
            environment.getProperty("server.address", "localhost"),
            environment.getProperty("local.server.port", "8080"));
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
