package dev.gregale.config;

import dev.gregale.backend.Backend;
import dev.gregale.backend.ModelBytes;
import dev.gregale.backend.ModelOps;
import dev.gregale.backend.cuda.CudaUnavailableException;
import dev.gregale.checkpoint.CheckpointException;
import dev.gregale.engine.EngineLimits;
import dev.gregale.engine.RoutingShape;
import dev.gregale.model.Activations;
import dev.gregale.model.KvCache;
import dev.gregale.model.MixtralConfig;
import dev.gregale.model.MixtralWeights;
import dev.gregale.model.ModelLoader;
import dev.gregale.model.ModelRunner;
import dev.gregale.model.Precision;
import dev.gregale.sampling.SamplingParams;
import dev.gregale.scheduler.SchedulerConfig;
import dev.gregale.tensor.DType;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * A model on its way from properties to something that runs: directory checked, backend chosen,
 * memory planned; then loaded. Plain Java, so that the commands use it without a server.
 *
 * @param name what requests give as "model"
 * @param directory of the checkpoint
 * @param loader the checked files
 * @param backends what will run it, one for each replica
 * @param limits how much it takes on
 * @param kvCacheDType what the KV cache is kept in
 */
public record ModelAssembly(
    String name,
    Path directory,
    ModelLoader loader,
    List<Backend> backends,
    EngineLimits limits,
    DType kvCacheDType)
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
    ModelLoader loader = open(directory, model);
    List<Backend> backends = BackendFactory.create(engine, loader);
    DType kvCacheDType = kvCacheDType(engine, backends.getFirst());
    EngineLimits limits = limits(loader, engine, backends, kvCacheDType);
    String name = model.name() == null ? directoryName(directory) : model.name();
    return new ModelAssembly(name, directory, loader, backends, limits, kvCacheDType);
  }

  private static DType kvCacheDType(EngineProperties engine, Backend backend) {
    DType dtype =
        switch (engine.kvCacheDtype()) {
          case AUTO -> backend.kvCacheDType();
          case FP32 -> DType.F32;
          case BF16 -> DType.BF16;
          case FP8 -> DType.F8_E4M3;
        };
    if (!backend.kvCacheDTypes().contains(dtype)) {
      throw new StartupException(
          ExitCode.CONFIG,
          "gregale.engine.kv-cache-dtype is %s, but the %s backend keeps keys and values in %s"
              .formatted(engine.kvCacheDtype(), backend.name(), backend.kvCacheDTypes()));
    }
    return dtype;
  }

  private static ModelLoader open(Path directory, ModelProperties model) {
    if (!Files.isDirectory(directory)) {
      throw new StartupException(
          ExitCode.NO_INPUT,
          "gregale.model.path: there is no directory " + directory.toAbsolutePath());
    }
    try {
      return ModelLoader.open(
          directory,
          model.loadFormat(),
          new Precision(model.quantization().recipe(), model.activationQuantization()));
    } catch (CheckpointException e) {
      throw new StartupException(ExitCode.DATA, String.valueOf(e.getMessage()));
    }
  }

  private static String directoryName(Path directory) {
    Path name = directory.toAbsolutePath().normalize().getFileName();
    return name == null ? "model" : name.toString();
  }

  private static EngineLimits limits(
      ModelLoader loader, EngineProperties engine, List<Backend> backends, DType kvCacheDType) {
    Backend backend = backends.getFirst();
    MixtralConfig config = loader.config();
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
            KvCache.bytesPerBlock(backend, config, blockSize, kvCacheDType),
            cacheBytes(loader, engine, backends));
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
          engine.schedulingPolicy(),
          engine.drainTimeout());
    } catch (IllegalArgumentException e) {
      throw new StartupException(ExitCode.CONFIG, "gregale.engine: " + e.getMessage());
    }
  }

  /**
   * What remains for the KV cache of each replica, once scratch memory is taken and the model is
   * accounted for: what the fullest has.
   */
  private static long cacheBytes(
      ModelLoader loader, EngineProperties engine, List<Backend> backends) {
    boolean shareMemory = backends.getFirst().deviceMemory() == null;
    return backends.stream()
            .mapToLong(backend -> cacheBytes(loader, engine, backend))
            .min()
            .orElseThrow()
        / (shareMemory ? backends.size() : 1);
  }

  private static long cacheBytes(ModelLoader loader, EngineProperties engine, Backend backend) {
    MixtralConfig config = loader.config();
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
      ModelBytes weights = loader.numBytes(backend.activationDType().bytes());
      long activations = Activations.numBytes(backend, config, tokens, logitRows(engine));
      return backend.freeBytesBeside(
          new ModelBytes(weights.divided(), weights.common() + activations),
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

  /** Its experts, as the engine sees them. */
  public RoutingShape routing() {
    return new RoutingShape(
        config().numHiddenLayers(), config().numLocalExperts(), config().numExpertsPerTok());
  }

  /** In what weights are kept and multiplied, and keys and values kept. */
  public String precision() {
    return loader.precision() + ", KV cache " + kvCacheDType;
  }

  /** What runs the only replica, or the first. */
  public Backend backend() {
    return backends.getFirst();
  }

  /** Copies the weights to the only replica's backend and allocates its KV cache. */
  public LoadedModel load() {
    return load(0, () -> {});
  }

  /**
   * The same for one of several replicas, which may be broken off.
   *
   * @param atLayer called after each layer; what it throws ends the loading
   */
  public LoadedModel load(int replica, Runnable atLayer) {
    Backend backend = backends.get(replica);
    long start = System.nanoTime();
    int layers = config().numHiddenLayers();
    MixtralWeights weights =
        loader.upload(
            backend,
            limits.maxModelLen(),
            done -> {
              logProgress(done, layers);
              atLayer.run();
            });
    if (replica == backends.size() - 1) {
      loader.close();
    }
    KvCache cache =
        KvCache.allocate(backend, config(), limits.numBlocks(), limits.blockSize(), kvCacheDType);
    LOG.info(
        "Model {} loaded from {} in {} ms: {} for {} tokens, {} at most in one sequence",
        name,
        directory,
        (System.nanoTime() - start) / 1_000_000,
        precision(),
        (long) limits.numBlocks() * limits.blockSize(),
        limits.maxModelLen());
    return new LoadedModel(backend, weights, cache);
  }

  /**
   * Weights and cache on a backend.
   *
   * @param backend of the replica
   * @param weights of all layers
   * @param cache of all layers
   */
  public record LoadedModel(Backend backend, MixtralWeights weights, KvCache cache) {}

  /**
   * What runs batches over a loaded model.
   *
   * @param ops the backend's, or a decorator of them
   */
  public ModelRunner runner(LoadedModel model, ModelOps ops) {
    SchedulerConfig scheduler = limits.scheduler();
    return new ModelRunner(
        model.backend(),
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
    backends.forEach(Backend::close);
  }
}
