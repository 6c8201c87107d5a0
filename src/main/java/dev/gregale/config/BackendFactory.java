package dev.gregale.config;

import dev.gregale.backend.Backend;
import dev.gregale.backend.BackendException;
import dev.gregale.backend.cpu.CpuBackend;
import dev.gregale.backend.cpu.CpuCollective;
import dev.gregale.backend.cuda.CudaBackend;
import dev.gregale.backend.cuda.CudaRanks;
import dev.gregale.backend.cuda.CudaUnavailableException;
import dev.gregale.backend.parallel.ParallelBackend;
import dev.gregale.backend.parallel.RankLayout;
import dev.gregale.config.EngineProperties.BackendChoice;
import dev.gregale.model.MixtralConfig;
import dev.gregale.model.ModelLoader;
import dev.gregale.tensor.WeightScaling;
import java.util.ArrayList;
import java.util.List;
import java.util.function.Supplier;
import java.util.stream.IntStream;
import java.util.stream.Stream;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/** Chooses the backend once, and says what it found. */
final class BackendFactory {
  private static final Logger LOG = LoggerFactory.getLogger(BackendFactory.class);

  private BackendFactory() {}

  /**
   * The backends that the properties ask for: one for each replica of the model, each of one device
   * or of several ranks. All are of one kind.
   *
   * @throws StartupException if they cannot be had here, or the model cannot be divided so
   */
  static List<Backend> create(EngineProperties properties, ModelLoader loader) {
    RankLayout layout = layout(properties, loader);
    List<List<Integer>> devices = devices(properties, layout.size());
    List<Backend> backends = new ArrayList<>();
    try {
      BackendChoice choice = properties.backend();
      for (List<Integer> ofReplica : devices) {
        Supplier<Backend> cuda = () -> cuda(properties, layout, loader.config(), ofReplica);
        Supplier<Backend> cpu = () -> cpu(properties, layout, loader.config());
        Backend backend = choose(choice, cuda, cpu);
        LOG.info("Backend: {}", backend.description());
        choice = backend.name().equals("cpu") ? BackendChoice.CPU : BackendChoice.CUDA;
        backends.add(backend);
      }
    } catch (RuntimeException e) {
      backends.forEach(Backend::close);
      throw e;
    }
    return List.copyOf(backends);
  }

  /** The devices of each replica. */
  private static List<List<Integer>> devices(EngineProperties properties, int ranks) {
    int replicas = properties.dataParallelSize();
    if (replicas < 1) {
      throw new StartupException(
          ExitCode.CONFIG,
          "gregale.engine.data-parallel-size is %d, not 1 or more".formatted(replicas));
    }
    int count = Math.multiplyExact(replicas, ranks);
    List<Integer> named = properties.devices();
    if (!named.isEmpty() && named.size() != count) {
      throw new StartupException(
          ExitCode.CONFIG,
          "gregale.engine.devices names %d GPUs, but %d replicas of %d ranks take %d"
              .formatted(named.size(), replicas, ranks, count));
    }
    List<Integer> all = named.isEmpty() ? IntStream.range(0, count).boxed().toList() : named;
    return IntStream.range(0, replicas)
        .mapToObj(replica -> all.subList(replica * ranks, (replica + 1) * ranks))
        .toList();
  }

  private static Backend cuda(
      EngineProperties properties, RankLayout layout, MixtralConfig model, List<Integer> devices) {
    if (layout.size() == 1) {
      return CudaBackend.open(devices.getFirst(), properties.deterministic());
    }
    CudaRanks ranks = CudaRanks.open(devices, properties.deterministic(), properties.ncclLibrary());
    return new ParallelBackend(
        ranks.backends(), ranks.collective(), layout, model.attentionShape());
  }

  private static Backend cpu(EngineProperties properties, RankLayout layout, MixtralConfig model) {
    int all = properties.threads();
    if (all == 0) {
      all = Runtime.getRuntime().availableProcessors();
    }
    int size = layout.size();
    int threads = Math.ceilDiv(all, size * properties.dataParallelSize());
    if (size == 1) {
      return CpuBackend.create(threads);
    }
    List<CpuBackend> ranks = Stream.generate(() -> CpuBackend.create(threads)).limit(size).toList();
    return new ParallelBackend(ranks, new CpuCollective(size), layout, model.attentionShape());
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
   * One of the two; with {@code auto} a GPU where one works, else the CPU.
   *
   * @param cuda opens the GPU
   * @throws StartupException if CUDA was asked for and does not work here
   */
  static Backend choose(BackendChoice choice, Supplier<Backend> cuda, Supplier<Backend> cpu) {
    return switch (choice) {
      case CPU -> cpu.get();
      case CUDA -> required(cuda);
      case AUTO -> ifAny(cuda, cpu);
    };
  }

  private static Backend required(Supplier<Backend> cuda) {
    try {
      return cuda.get();
    } catch (CudaUnavailableException | BackendException e) {
      throw new StartupException(
          ExitCode.UNAVAILABLE, "gregale.engine.backend=cuda: " + e.getMessage());
    }
  }

  private static Backend ifAny(Supplier<Backend> cuda, Supplier<Backend> cpu) {
    try {
      return cuda.get();
    } catch (CudaUnavailableException | BackendException e) {
      LOG.info("No CUDA, taking the CPU: {}", e.getMessage());
      return cpu.get();
    }
  }
}
