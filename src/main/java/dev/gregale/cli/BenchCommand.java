package dev.gregale.cli;

import dev.gregale.config.ModelAssembly;
import dev.gregale.config.StepLoop;
import java.util.Collections;
import java.util.List;
import java.util.concurrent.Callable;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Option;
import tools.jackson.databind.json.JsonMapper;

@Command(
    name = "bench",
    mixinStandardHelpOptions = true,
    subcommands = PerplexityCommand.class,
    description = "Measures prefill and decode of a model, without a server.")
final class BenchCommand implements Callable<Integer> {

  @Mixin private ModelOptions model = new ModelOptions();

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
    try (ModelAssembly assembly = model.prepare(most, batched, longest)) {
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
