package dev.gregale.cli;

import dev.gregale.config.ExitCode;
import dev.gregale.config.ModelAssembly;
import dev.gregale.config.ModelAssembly.LoadedModel;
import dev.gregale.config.StartupException;
import dev.gregale.engine.AsyncLlmEngine;
import dev.gregale.engine.ServedModel;
import dev.gregale.engine.TextStreamFactory;
import dev.gregale.tokenizer.DjlTokenizer;
import dev.gregale.tokenizer.TokenizerLoadException;
import io.micrometer.core.instrument.simple.SimpleMeterRegistry;
import java.nio.file.Path;
import java.util.List;
import java.util.concurrent.Callable;
import org.jspecify.annotations.Nullable;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.Option;
import picocli.CommandLine.ParameterException;
import picocli.CommandLine.Parameters;
import picocli.CommandLine.Spec;
import tools.jackson.databind.json.JsonMapper;

@Command(
    name = "perplexity",
    mixinStandardHelpOptions = true,
    description = {
      "Tells how well a model foretells a text: mean loss in nats per token, and perplexity.",
      "Every token is scored once, with the tokens of its window before it. Every window of a text"
          + " begins with the tokenizer's beginning-of-sequence token, if it adds one."
    })
final class PerplexityCommand implements Callable<Integer> {
  private static final int WINDOWS_AT_ONCE = 4;

  @Spec private CommandSpec spec = CommandSpec.create(); // picocli puts its own here

  @Mixin private ModelOptions model = new ModelOptions();

  @Parameters(paramLabel = "FILE", description = "A UTF-8 text; with --tokens, token ids.")
  private Path file = Path.of("");

  @Option(
      names = "--tokens",
      description = {
        "FILE holds token ids: a JSON array, or an array of arrays, or a sequence on each line.",
        "They are scored as they are, each sequence on its own."
      })
  private boolean tokens;

  @Option(names = "--context-tokens", description = "Tokens of a window. Default: 512.")
  private int contextTokens = 512;

  @Option(
      names = "--stride",
      description =
          "Tokens from window to window; fewer give every token more context, and cost more."
              + " Default: one less than a window has, so that none is scored twice.")
  private @Nullable Integer stride;

  @Option(names = "--windows", description = "Score so many windows only. Default: all.")
  private long maxWindows = Long.MAX_VALUE;

  @Option(
      names = "--max-num-batched-tokens",
      description = "Tokens of one step, at most. Default: 512.")
  private int maxNumBatchedTokens = 512;

  @Option(names = "--json", description = "For machines.")
  private boolean json;

  @Override
  public Integer call() {
    int step = stride == null ? contextTokens - 1 : stride;
    checkOptions(step);
    try (ModelAssembly assembly =
        model.prepare(WINDOWS_AT_ONCE, maxNumBatchedTokens, contextTokens)) {
      PerplexityReport report = run(assembly, read(assembly), step);
      spec.commandLine()
          .getOut()
          .println(
              json
                  ? JsonMapper.shared().writerWithDefaultPrettyPrinter().writeValueAsString(report)
                  : report.toText());
    }
    return ExitCode.OK.code();
  }

  private void checkOptions(int step) {
    if (!spec.parent().commandLine().getParseResult().matchedOptions().isEmpty()) {
      throw wrong("options go after the word perplexity");
    }
    if (contextTokens < 2) {
      throw wrong("--context-tokens is %d, but a window has 2 or more".formatted(contextTokens));
    }
    if (step < 1 || step >= contextTokens) {
      throw wrong(
          "--stride is %d, but must be from 1 to %d, one less than --context-tokens"
              .formatted(step, contextTokens - 1));
    }
    if (maxWindows < 1) {
      throw wrong("--windows is %d, but must be 1 or more".formatted(maxWindows));
    }
  }

  private ParameterException wrong(String message) {
    return new ParameterException(spec.commandLine(), message);
  }

  private ScoredText read(ModelAssembly assembly) {
    if (tokens) {
      return ScoredText.ofTokenIds(file, assembly.config().vocabSize());
    }
    try (DjlTokenizer tokenizer =
        DjlTokenizer.open(assembly.directory(), ScoredText.MAX_BYTES).orElse(null)) {
      if (tokenizer == null) {
        throw new StartupException(
            ExitCode.DATA,
            assembly.directory() + " has no tokenizer.json; give token ids with --tokens");
      }
      return ScoredText.ofText(file, tokenizer);
    } catch (TokenizerLoadException e) {
      throw new StartupException(ExitCode.DATA, String.valueOf(e.getMessage()));
    }
  }

  private PerplexityReport run(ModelAssembly assembly, ScoredText text, int step) {
    if (text.isEmpty()) {
      throw new StartupException(ExitCode.DATA, file + " is too short: there is no token to score");
    }
    LoadedModel loaded = assembly.load();
    ServedModel served =
        new ServedModel(
            assembly.name(), 0, assembly.config().vocabSize(), new int[0], assembly.routing());
    try (AsyncLlmEngine engine =
        new AsyncLlmEngine(
            served,
            assembly.limits(),
            List.of(assembly.runner(loaded, assembly.backend().kernels())),
            TextStreamFactory.none(),
            new SimpleMeterRegistry())) {
      engine.start();
      long start = System.nanoTime();
      Perplexity.Score score =
          new Perplexity(engine, WINDOWS_AT_ONCE).score(text, contextTokens, step, maxWindows);
      double seconds = (System.nanoTime() - start) / 1e9;
      return new PerplexityReport(
          assembly.name(),
          assembly.backend().description(),
          file,
          contextTokens,
          step,
          score,
          seconds);
    }
  }
}
