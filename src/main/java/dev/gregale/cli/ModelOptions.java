package dev.gregale.cli;

import dev.gregale.config.EngineProperties;
import dev.gregale.config.EngineProperties.BackendChoice;
import dev.gregale.config.ModelAssembly;
import dev.gregale.config.ModelProperties;
import dev.gregale.model.LoadFormat;
import java.time.Duration;
import org.jspecify.annotations.Nullable;
import picocli.CommandLine.Option;

/** Which model a command runs without a server, and on what. */
final class ModelOptions {

  @Option(names = "--model", description = "Model directory; default: the bundled demo model.")
  private @Nullable String model;

  @Option(
      names = "--load-format",
      description = "auto, hf, te, or dummy: random weights from a bare config.json.")
  private LoadFormat loadFormat = LoadFormat.AUTO;

  @Option(names = "--backend", description = "auto, cpu or cuda.")
  private BackendChoice backend = BackendChoice.AUTO;

  @Option(names = "--threads", description = "Threads of the CPU backend; 0 takes all processors.")
  private int threads;

  @Option(
      names = "--deterministic",
      description = "On a GPU: the same bits whatever is computed together.")
  private boolean deterministic;

  @Option(
      names = "--gpu-memory-utilization",
      description = "Share of the GPU's memory to take. Default: 0.80.")
  private double gpuMemoryUtilization = 0.80;

  /**
   * The model, ready to be loaded.
   *
   * @param maxNumSeqs sequences that run together
   * @param maxNumBatchedTokens tokens of one step
   * @param maxModelLen tokens of one sequence
   */
  ModelAssembly prepare(int maxNumSeqs, int maxNumBatchedTokens, int maxModelLen) {
    return ModelAssembly.prepare(
        new ModelProperties(model, null, loadFormat),
        new EngineProperties(
            backend,
            threads,
            deterministic,
            gpuMemoryUtilization,
            1,
            1,
            maxNumSeqs,
            maxNumBatchedTokens,
            maxModelLen,
            null,
            null,
            false, // what is measured is computing
            maxNumSeqs,
            1,
            Long.MAX_VALUE,
            Duration.ZERO));
  }
}
