package dev.gregale.config;

import dev.gregale.backend.Backend;
import dev.gregale.backend.Kernels;
import dev.gregale.backend.cuda.CudaUnavailableException;
import dev.gregale.checkpoint.CheckpointException;
import dev.gregale.engine.EngineLimits;
import dev.gregale.model.Activations;
import dev.gregale.model.KvCache;
import dev.gregale.model.LoadFormat;
import dev.gregale.model.MixtralConfig;
import dev.gregale.model.MixtralWeights;
import dev.gregale.model.ModelLoader;
import dev.gregale.model.ModelRunner;
import dev.gregale.sampling.SamplingParams;
import dev.gregale.scheduler.SchedulerConfig;
import java.nio.file.Files;
import java.nio.file.Path;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * A model on its way from properties to something that runs: directory checked, backend chosen,
 * memory planned; then loaded. Plain Java, so that the commands use it without a server.
 *
 * @param name what requests give as "model"
 * @param directory of the checkpoint
 * @param loader the checked files
 * @param backend what will run it
 * @param limits how much it takes on
 */
public record ModelAssembly(
    String name, Path directory, ModelLoader loader, Backend backend, EngineLimits limits)
    implements AutoCloseable {
  private static final Logger LOG = LoggerFactory.getLogger(ModelAssembly.class);
  private static final int MIN_LOGIT_ROWS = 256;
  private static final int BUFFERED_EVENTS_PER_SEQUENCE = 64;

  /**
   * Checks the model's files, chooses the backend and plans the memory.
   *
   * @throws StartupException if any of it cannot be
   */
  public static ModelAssembly prepare(ModelProperties model, EngineProperties engine) {
    boolean bundled = model.path() == null || model.path().isBlank();
    Path directory = bundled ? BundledModel.directory() : Path.of(model.path());
    ModelLoader loader = open(directory, model.loadFormat());
    Backend backend = BackendFactory.create(engine, loader.config());
    EngineLimits limits = limits(loader.config(), engine, backend);
    String name = model.name() == null ? directoryName(directory) : model.name();
    return new ModelAssembly(name, directory, loader, backend, limits);
  }

  private static ModelLoader open(Path directory, LoadFormat format) {
    if (!Files.isDirectory(directory)) {
      throw new StartupException(
          ExitCode.NO_INPUT,
          "gregale.model.path: there is no directory " + directory.toAbsolutePath());
    }
    try {
      return ModelLoader.open(directory, format);
    } catch (CheckpointException e) {
      throw new StartupException(ExitCode.DATA, String.valueOf(e.getMessage()));
    }
  }

  private static String directoryName(Path directory) {
    Path name = directory.toAbsolutePath().normalize().getFileName();
    return name == null ? "model" : name.toString();
  }

  private static EngineLimits limits(
      MixtralConfig config, EngineProperties engine, Backend backend) {
    int blockSize = engine.blockSize() == null ? backend.kvBlockSize() : engine.blockSize();
    if (blockSize < 1) {
      throw new StartupException(
          ExitCode.CONFIG, "gregale.engine.block-size is %d, not 1 or more".formatted(blockSize));
    }
    KvPlan plan =
        KvPlan.of(
            config,
            engine,
            blockSize,
            KvCache.bytesPerBlock(backend, config, blockSize, backend.kvCacheDType()),
            cacheBytes(config, engine, backend));
    try {
      return new EngineLimits(
          engine.maxNumSeqs(),
          engine.maxNumBatchedTokens(),
          plan.maxModelLen(),
          blockSize,
          plan.numBlocks(),
          logitRows(engine),
          engine.maxQueuedRequests(),
          engine.maxSequencesPerRequest(),
          engine.maxTokensPerRequest(),
          BUFFERED_EVENTS_PER_SEQUENCE * engine.maxSequencesPerRequest(),
          engine.enablePrefixCaching(),
          engine.drainTimeout());
    } catch (IllegalArgumentException e) {
      throw new StartupException(ExitCode.CONFIG, "gregale.engine: " + e.getMessage());
    }
  }

  /** What remains for the KV cache, once scratch memory is taken and the model is accounted for. */
  private static long cacheBytes(MixtralConfig config, EngineProperties engine, Backend backend) {
    double utilization = engine.gpuMemoryUtilization();
    if (!(utilization > 0 && utilization <= 1)) {
      throw new StartupException(
          ExitCode.CONFIG,
          "gregale.engine.gpu-memory-utilization is %s, not above 0 and up to 1"
              .formatted(utilization));
    }
    int tokens = engine.maxNumBatchedTokens();
    int longest =
        engine.maxModelLen() == null ? config.maxPositionEmbeddings() : engine.maxModelLen();
    try {
      backend.reserve(ModelRunner.workspaceLimits(config, tokens, engine.maxNumSeqs(), longest));
      return backend.freeBytesBeside(
          MixtralWeights.numBytes(config, backend.activationDType().bytes())
              + Activations.numBytes(backend, config, tokens, logitRows(engine)),
          engine.gpuMemoryUtilization());
    } catch (CudaUnavailableException e) {
      throw new StartupException(ExitCode.UNAVAILABLE, String.valueOf(e.getMessage()));
    }
  }

  private static int logitRows(EngineProperties engine) {
    return Math.max(engine.maxNumSeqs(), MIN_LOGIT_ROWS);
  }

  public MixtralConfig config() {
    return loader.config();
  }

  /** Copies the weights to the backend and allocates the KV cache. */
  public LoadedModel load() {
    long start = System.nanoTime();
    int layers = config().numHiddenLayers();
    MixtralWeights weights =
        loader.upload(backend, limits.maxModelLen(), done -> logProgress(done, layers));
    loader.close();
    KvCache cache =
        KvCache.allocate(
            backend, config(), limits.numBlocks(), limits.blockSize(), backend.kvCacheDType());
    LOG.info(
        "Model {} loaded from {} in {} ms; KV cache for {} tokens, {} at most in one sequence",
        name,
        directory,
        (System.nanoTime() - start) / 1_000_000,
        (long) limits.numBlocks() * limits.blockSize(),
        limits.maxModelLen());
    return new LoadedModel(weights, cache);
  }

  /**
   * Weights and cache on the backend.
   *
   * @param weights of all layers
   * @param cache of all layers
   */
  public record LoadedModel(MixtralWeights weights, KvCache cache) {}

  /**
   * What runs batches over a loaded model.
   *
   * @param ops the backend's, or a decorator of them
   */
  public ModelRunner runner(LoadedModel model, Kernels ops) {
    SchedulerConfig scheduler = limits.scheduler();
    return new ModelRunner(
        backend,
        ops,
        config(),
        model.weights(),
        model.cache(),
        scheduler.maxNumBatchedTokens(),
        scheduler.maxNumSeqs(),
        scheduler.maxLogitRows(),
        scheduler.maxBlocksPerSeq(),
        SamplingParams.MAX_LOGPROBS);
  }

  /** A line for every tenth of the layers. */
  private static void logProgress(int done, int layers) {
    if (10 * done / layers != 10 * (done - 1) / layers && layers >= 10) {
      LOG.info("Loading: {} of {} layers", done, layers);
    }
  }

  @Override
  public void close() {
    loader.close();
    backend.close();
  }
}
