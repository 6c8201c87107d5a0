package dev.gregale.cli;

import dev.gregale.config.EngineProperties;
import dev.gregale.config.EngineProperties.BackendChoice;
import dev.gregale.config.EngineProperties.KvCacheDType;
import dev.gregale.config.ModelAssembly;
import dev.gregale.config.ModelProperties;
import dev.gregale.engine.SchedulingPolicy;
import dev.gregale.model.LoadFormat;
import dev.gregale.quantization.Quantization;
import dev.gregale.tensor.InputScaling.When;
import java.time.Duration;
import java.util.List;
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

  @Option(
      names = "--quantization",
      description = "none, fp8, fp8-block or mxfp8: weights are quantised as they are loaded.")
  private Quantization quantization = Quantization.NONE;

  @Option(
      names = "--activation-quantization",
      description = "never, if-faster or always, with quantised weights. Default: if-faster.")
  private When activationQuantization = When.IF_FASTER;

  @Option(names = "--kv-cache-dtype", description = "auto, fp32, bf16 or fp8.")
  private KvCacheDType kvCacheDtype = KvCacheDType.AUTO;

  @Option(names = "--backend", description = "auto, cpu or cuda.")
  private BackendChoice backend = BackendChoice.AUTO;

  @Option(names = "--threads", description = "Threads of the CPU backend; 0 takes all processors.")
  private int threads;

  @Option(
      names = "--deterministic",
      description = "On a GPU: the same bits whatever is computed together.")
  private boolean deterministic;

  @Option(
      names = "--tensor-parallel-size",
      description = "GPUs, or ranks on the CPU, that the model is divided among. Default: 1.")
  private int tensorParallelSize = 1;

  @Option(
      names = "--expert-parallel-size",
      description = "Groups of these that the experts are dealt out to. Default: 1.")
  private int expertParallelSize = 1;

  @Option(
      names = "--devices",
      split = ",",
      description = "GPUs to run on, as nvidia-smi counts them. Default: 0,1 ...")
  private List<Integer> devices = List.of();

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
        new ModelProperties(model, null, loadFormat, quantization, activationQuantization),
        new EngineProperties(
            backend,
            threads,
            deterministic,
            gpuMemoryUtilization,
            tensorParallelSize,
            expertParallelSize,
            1,
            devices,
            null,
            maxNumSeqs,
            maxNumBatchedTokens,
            maxModelLen,
            null,
            null,
            kvCacheDtype,
            false, // what is measured is computing
            SchedulingPolicy.FCFS,
            maxNumSeqs,
            1,
            Long.MAX_VALUE,
            Duration.ZERO));
  }
}
