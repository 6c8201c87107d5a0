package dev.gregale.config;

import dev.gregale.backend.Backend;
import dev.gregale.backend.cpu.CpuBackend;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/** Chooses the backend once, and says what it found. */
final class BackendFactory {
  private static final Logger LOG = LoggerFactory.getLogger(BackendFactory.class);

  private BackendFactory() {}

  /**
   * @throws StartupException if CUDA was asked for and is not there
   */
  static Backend create(EngineProperties properties) {
    if (properties.backend() == EngineProperties.BackendChoice.CUDA) {
      throw new StartupException(
          ExitCode.UNAVAILABLE,
          "gregale.engine.backend=cuda: this build has no CUDA backend yet; use auto or cpu");
    }
    Backend backend = CpuBackend.create(properties.threads());
    LOG.info("Backend: {}", backend.description());
    return backend;
  }
}
