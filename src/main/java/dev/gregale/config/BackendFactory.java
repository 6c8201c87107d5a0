package dev.gregale.config;

import dev.gregale.backend.Backend;
import dev.gregale.backend.BackendException;
import dev.gregale.backend.cpu.CpuBackend;
import dev.gregale.backend.cuda.CudaBackend;
import dev.gregale.backend.cuda.CudaUnavailableException;
import java.util.function.Supplier;
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
    return create(properties, () -> CudaBackend.open(0, properties.deterministic()));
  }

  /**
   * @param cuda opens the GPU
   */
  static Backend create(EngineProperties properties, Supplier<Backend> cuda) {
    Backend backend =
        switch (properties.backend()) {
          case CPU -> CpuBackend.create(properties.threads());
          case CUDA -> required(cuda);
          case AUTO -> ifAny(cuda, properties);
        };
    LOG.info("Backend: {}", backend.description());
    return backend;
  }

  private static Backend required(Supplier<Backend> cuda) {
    try {
      return cuda.get();
    } catch (CudaUnavailableException | BackendException e) {
      throw new StartupException(
          ExitCode.UNAVAILABLE, "gregale.engine.backend=cuda: " + e.getMessage());
    }
  }

  private static Backend ifAny(Supplier<Backend> cuda, EngineProperties properties) {
    try {
      return cuda.get();
    } catch (CudaUnavailableException | BackendException e) {
      LOG.info("No CUDA, taking the CPU: {}", e.getMessage());
      return CpuBackend.create(properties.threads());
    }
  }
}
