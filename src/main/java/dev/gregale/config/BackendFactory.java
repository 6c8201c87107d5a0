package dev.gregale.config;

import dev.gregale.backend.Backend;
import dev.gregale.backend.cpu.CpuBackend;
import dev.gregale.backend.cuda.CudaBackend;
import dev.gregale.backend.cuda.CudaUnavailableException;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/** Chooses the backend once, and says what it found. */
final class BackendFactory {
  private static final Logger LOG = LoggerFactory.getLogger(BackendFactory.class);

  private BackendFactory() {}

  /**
   * The backend that the properties ask for; with {@code auto} a GPU where one works, else the CPU.
   *
   * @throws StartupException if CUDA was asked for and does not work here
   */
  static Backend create(EngineProperties properties) {
    Backend backend =
        switch (properties.backend()) {
          case CPU -> CpuBackend.create(properties.threads());
          case CUDA -> cuda();
          case AUTO -> auto(properties);
        };
    LOG.info("Backend: {}", backend.description());
    return backend;
  }

  private static Backend cuda() {
    try {
      return CudaBackend.open(0, false);
    } catch (CudaUnavailableException e) {
      throw new StartupException(
          ExitCode.UNAVAILABLE, "gregale.engine.backend=cuda: " + e.getMessage());
    }
  }

  private static Backend auto(EngineProperties properties) {
    try {
      return CudaBackend.open(0, false);
    } catch (CudaUnavailableException e) {
      LOG.info("No CUDA, taking the CPU: {}", e.getMessage());
      return CpuBackend.create(properties.threads());
    }
  }
}
