package dev.gregale.web;

import dev.gregale.engine.GenerationEvent;
import dev.gregale.engine.TokenLogprob;
import dev.gregale.web.CompletionResponse.Choice;
import dev.gregale.web.CompletionResponse.Usage;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.List;
import org.jspecify.annotations.Nullable;

/** Collects the events of a request into one response. Not safe for use by several threads. */
final class CompletionAssembler {
  private final Completion completion;
  private final List<Output> outputs = new ArrayList<>();

  /** What one sequence has so far. */
  private static final class Output {
    private final StringBuilder text = new StringBuilder();
    private final @Nullable LogprobsFormatter logprobs;
    private double sumLogprobs;
    private int numLogprobs;
    private int completionTokens;
    private @Nullable String finishReason;

    Output(@Nullable LogprobsFormatter logprobs) {
      this.logprobs = logprobs;
    }

    void add(GenerationEvent.Tokens event) {
      text.append(event.text());
      for (TokenLogprob token : event.tokens()) {
        sumLogprobs += token.logprob();
        numLogprobs++;
      }
      if (logprobs != null) {
        logprobs.add(event.tokens());
      }
    }

    double meanLogprob() {
      return numLogprobs == 0 ? Double.NEGATIVE_INFINITY : sumLogprobs / numLogprobs;
    }
  }

  CompletionAssembler(Completion completion, TokenTexts texts) {
    this.completion = completion;
    for (int i = 0; i < completion.generation().numSequences(); i++) {
      Output output = new Output(completion.logprobsFormatter(texts, i));
      output.text.append(completion.echo() ? completion.promptOf(i).text() : "");
      outputs.add(output);
    }
  }

  void accept(GenerationEvent event) {
    Output output = outputs.get(event.index());
    switch (event) {
      case GenerationEvent.PromptScored scored -> {
        if (output.logprobs != null) {
          output.logprobs.addPrompt(scored.tokens());
        }
      }
      case GenerationEvent.Tokens tokens -> output.add(tokens);
      case GenerationEvent.Finished finished -> {
        output.finishReason = FinishReasons.of(finished.reason());
        output.completionTokens = finished.completionTokens();
      }
    }
  }

  CompletionResponse response() {
    int bestOf = completion.generation().n();
    List<Choice> choices = new ArrayList<>();
    for (int first = 0; first < outputs.size(); first += bestOf) {
      for (Output output : best(outputs.subList(first, first + bestOf))) {
        choices.add(
            new Choice(
                output.text.toString(),
                choices.size(),
                output.logprobs == null ? null : output.logprobs.take(),
                output.finishReason));
      }
    }
    int completionTokens = outputs.stream().mapToInt(o -> o.completionTokens).sum();
    return new CompletionResponse(completion, choices, Usage.of(completion, completionTokens));
  }

  /** The n answers to a prompt: all of them as they came, or the best ones first. */
  private List<Output> best(List<Output> ofPrompt) {
    for (Output output : ofPrompt) {
      if (output.finishReason == null) {
        throw new IllegalStateException("The engine ended " + completion.id() + " too early");
      }
    }
    return ofPrompt.size() == completion.n()
        ? ofPrompt
        : ofPrompt.stream()
            .sorted(Comparator.comparingDouble(Output::meanLogprob).reversed())
            .limit(completion.n())
            .toList();
  }
}
