package dev.gregale.cli;

import dev.gregale.config.EngineProperties;
import dev.gregale.config.EngineProperties.BackendChoice;
import dev.gregale.config.ModelAssembly;
import dev.gregale.config.ModelProperties;
import dev.gregale.config.StepLoop;
import dev.gregale.model.LoadFormat;
import java.time.Duration;
import java.util.Collections;
import java.util.List;
import java.util.concurrent.Callable;
import org.jspecify.annotations.Nullable;
import picocli.CommandLine.Command;
import picocli.CommandLine.Option;
import tools.jackson.databind.json.JsonMapper;

@Command(
    name = "bench",
    mixinStandardHelpOptions = true,
    description = "Measures prefill and decode of a model, without a server.")
final class BenchCommand implements Callable<Integer> {

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
      description = "Share of the GPU's memory to take. Default: 0.90.")
  private double gpuMemoryUtilization = 0.90;

  @Option(names = "--prompt-tokens", split = ",", description = "Prompt lengths. Default: 512.")
  private List<Integer> promptTokens = List.of(512);

  @Option(
      names = "--sequences",
      split = ",",
      description = "Sequences decoded at once. Default: 1.")
  private List<Integer> sequences = List.of(1);

  @Option(names = "--output-tokens", description = "Tokens decoded per sequence. Default: 128.")
  private int outputTokens = 128;

  @Option(
      names = "--context-tokens",
      description = "Tokens of every sequence before decoding is timed. Default: 1.")
  private int contextTokens = 1;

  @Option(
      names = "--max-num-batched-tokens",
      description = "Tokens of one step, at most. Default: 512, at least two of every sequence.")
  private int maxNumBatchedTokens = 512;

  @Option(names = "--repetitions", description = "Counted runs, of which the median is told.")
  private int repetitions = 11;

  @Option(names = "--json", description = "For machines.")
  private boolean json;

  @Override
  public Integer call() {
    int most = Collections.max(sequences);
    int batched = Math.max(maxNumBatchedTokens, 2 * most);
    int ahead = StepLoop.prefillSteps(batched, most, contextTokens);
    int longest = Math.max(Collections.max(promptTokens), contextTokens + ahead + outputTokens) + 1;
    ModelProperties modelProperties = new ModelProperties(model, null, loadFormat);
    EngineProperties engineProperties =
        new EngineProperties(
            backend,
            threads,
            deterministic,
            gpuMemoryUtilization,
            most,
            batched,
            longest,
            null,
            null,
            false, // what is timed is computing
            most,
            1,
            Long.MAX_VALUE,
            Duration.ZERO);
    try (ModelAssembly assembly = ModelAssembly.prepare(modelProperties, engineProperties)) {
      BenchReport report =
          new Bench(assembly, contextTokens, repetitions)
              .run(promptTokens, sequences, outputTokens);
      System.out.println(
          json
              ? JsonMapper.shared().writerWithDefaultPrettyPrinter().writeValueAsString(report)
              : report.toText());
    }
    return 0;
  }
}
