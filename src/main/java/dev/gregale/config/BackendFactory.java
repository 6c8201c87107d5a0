package dev.gregale.config;

import dev.gregale.backend.Backend;
import dev.gregale.backend.BackendException;
import dev.gregale.backend.cpu.CpuBackend;
import dev.gregale.backend.cuda.CudaBackend;
import dev.gregale.backend.cuda.CudaUnavailableException;
import dev.gregale.backend.parallel.ParallelBackend;
import dev.gregale.backend.parallel.RankLayout;
import dev.gregale.model.MixtralConfig;
import dev.gregale.model.ModelLoader;
import dev.gregale.tensor.WeightScaling;
import java.util.ArrayList;
import java.util.List;
import java.util.function.Supplier;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/** Chooses the backend once, and says what it found. */
final class BackendFactory {
  private static final Logger LOG = LoggerFactory.getLogger(BackendFactory.class);

  private BackendFactory() {}

  /**
   * The backends that the properties ask for: one for each replica of the model, each of one device
   * or of several ranks.
   *
   * @throws StartupException if they cannot be had here, or the model cannot be divided so
   */
  static List<Backend> create(EngineProperties properties, ModelLoader loader) {
    int replicas = properties.dataParallelSize();
    if (replicas < 1) {
      throw new StartupException(
          ExitCode.CONFIG,
          "gregale.engine.data-parallel-size is %d, not 1 or more".formatted(replicas));
    }
    RankLayout layout = layout(properties, loader);
    List<Backend> backends = new ArrayList<>();
    try {
      for (int replica = 0; replica < replicas; replica++) {
        backends.add(replica(properties, layout, loader.config(), replica));
      }
    } catch (RuntimeException e) {
      backends.forEach(Backend::close);
      throw e;
    }
    return List.copyOf(backends);
  }

  private static Backend replica(
      EngineProperties properties, RankLayout layout, MixtralConfig model, int replica) {
    if (layout.size() == 1) {
      return create(properties, () -> CudaBackend.open(replica, properties.deterministic()));
    }
    if (properties.backend() != EngineProperties.BackendChoice.CPU) {
      throw new StartupException(
          ExitCode.CONFIG,
          "gregale.engine.tensor-parallel-size=%d: one model on several GPUs is not served yet;"
                  .formatted(layout.size())
              + " gregale.engine.backend=cpu runs the ranks one after the other");
    }
    List<Backend> ranks = new ArrayList<>();
    for (int rank = 0; rank < layout.size(); rank++) {
      ranks.add(CpuBackend.create(threads(properties, layout.size())));
    }
    Backend backend = new ParallelBackend(ranks, layout, model.attentionShape());
    LOG.info("Backend: {}", backend.description());
    return backend;
  }

  /** Of each of so many ranks of a replica. */
  private static int threads(EngineProperties properties, int ranks) {
    int all = properties.threads();
    if (all == 0) {
      all = Runtime.getRuntime().availableProcessors();
    }
    return Math.ceilDiv(all, ranks * properties.dataParallelSize());
  }

  private static RankLayout layout(EngineProperties properties, ModelLoader loader) {
    MixtralConfig model = loader.config();
    try {
      RankLayout layout =
          new RankLayout(properties.tensorParallelSize(), properties.expertParallelSize());
      layout.check(model.attentionShape(), model.numLocalExperts(), model.intermediateSize());
      for (WeightScaling scaling : loader.scalings()) {
        layout.check(scaling, model.attentionShape(), model.intermediateSize());
      }
      return layout;
    } catch (IllegalArgumentException e) {
      throw new StartupException(
          ExitCode.CONFIG,
          "gregale.engine.tensor-parallel-size=%d, expert-parallel-size=%d: %s"
              .formatted(
                  properties.tensorParallelSize(),
                  properties.expertParallelSize(),
                  e.getMessage()));
    }
  }

  /**
   * The backend that the properties ask for; with {@code auto} a GPU where one works, else the CPU.
   *
   * @param cuda opens the GPU
   * @throws StartupException if CUDA was asked for and does not work here
   */
  static Backend create(EngineProperties properties, Supplier<Backend> cuda) {
    Backend backend =
        switch (properties.backend()) {
          case CPU -> CpuBackend.create(threads(properties, 1));
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
      return CpuBackend.create(threads(properties, 1));
    }
  }
}
