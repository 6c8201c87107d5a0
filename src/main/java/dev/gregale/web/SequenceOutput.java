package dev.gregale.web;

import dev.gregale.engine.GenerationEvent;
import dev.gregale.engine.TokenLogprob;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import org.jspecify.annotations.Nullable;

/**
 * What the engine has said of one sequence. For one thread at a time.
 *
 * @param <L> the shape of the log-probabilities
 */
final class SequenceOutput<L> {
  private final Completion completion;
  private final int sequence;
  private final TokenTexts texts;
  private final @Nullable LogprobsCollector<L> logprobs;
  private final @Nullable RoutedExperts routedExperts;
  private StringBuilder text = new StringBuilder();
  private List<Integer> tokenIds = new ArrayList<>();
  private @Nullable List<@Nullable Map<Integer, PromptLogprob>> promptLogprobs;
  private double sumLogprobs;
  private int numLogprobs;
  private int completionTokens;
  private int cachedTokens;
  private @Nullable String finishReason;

  SequenceOutput(Completion completion, ReplyFormat<L> format, TokenTexts texts, int sequence) {
    this.completion = completion;
    this.sequence = sequence;
    this.texts = texts;
    Completion.Report report = completion.report();
    this.logprobs = report.logprobs() < 0 ? null : format.logprobs(completion, sequence);
    this.routedExperts =
        report.routedExperts() == null ? null : new RoutedExperts(report.routedExperts());
    text.append(report.echo() ? completion.promptOf(sequence).text() : "");
  }

  /** One for each sequence of a request. */
  static <L> List<SequenceOutput<L>> all(
      Completion completion, ReplyFormat<L> format, TokenTexts texts) {
    List<SequenceOutput<L>> all = new ArrayList<>();
    for (int i = 0; i < completion.generation().numSequences(); i++) {
      all.add(new SequenceOutput<>(completion, format, texts, i));
    }
    return all;
  }

  void accept(GenerationEvent event) {
    switch (event) {
      case GenerationEvent.PromptScored scored -> addPrompt(scored.tokens());
      case GenerationEvent.Routed routed -> {
        if (routedExperts != null) {
          routedExperts.add(routed.expertIds());
        }
      }
      case GenerationEvent.Tokens tokens -> add(tokens);
      case GenerationEvent.Finished finished -> {
        finishReason = FinishReasons.of(finished.reason());
        completionTokens = finished.completionTokens();
        cachedTokens = finished.cachedTokens();
      }
    }
  }

  private void addPrompt(List<TokenLogprob> tokens) {
    Completion.Report report = completion.report();
    if (report.promptLogprobs() >= 0) {
      promptLogprobs = PromptLogprob.of(tokens, report.promptLogprobs(), texts);
    }
    if (logprobs != null && report.echo()) {
      logprobs.addPrompt(tokens);
    }
  }

  private void add(GenerationEvent.Tokens event) {
    text.append(event.text());
    completionTokens += event.tokens().size();
    for (TokenLogprob token : event.tokens()) {
      sumLogprobs += token.logprob();
      numLogprobs++;
      if (completion.report().tokenIds()) {
        tokenIds.add(token.tokenId());
      }
    }
    if (logprobs != null) {
      logprobs.add(event.tokens());
    }
  }

  /**
   * What has come since the last call.
   *
   * @param index of the choice
   */
  Piece<L> take(int index) {
    Piece<L> piece =
        new Piece<>(
            completion.promptOf(sequence),
            index,
            text.toString(),
            logprobs == null ? null : logprobs.take(),
            completion.report().tokenIds() ? tokenIds : null,
            routedExperts == null ? null : routedExperts.take(),
            promptLogprobs,
            finishReason);
    text = new StringBuilder();
    tokenIds = new ArrayList<>();
    promptLogprobs = null;
    return piece;
  }

  /** What best_of ranks by. */
  double meanLogprob() {
    return numLogprobs == 0 ? Double.NEGATIVE_INFINITY : sumLogprobs / numLogprobs;
  }

  /** Tokens generated so far. */
  int completionTokens() {
    return completionTokens;
  }

  /** Tokens of the prompt that did not have to be computed; 0 until the end tells. */
  int cachedTokens() {
    return cachedTokens;
  }

  /** Tokens read and written for this sequence so far. */
  Usage usage() {
    return new Usage(completion.promptOf(sequence).tokenIds().length, completionTokens);
  }

  /** Fails if the engine has not told the end. */
  void requireFinished() {
    if (finishReason == null) {
      throw new IllegalStateException("The engine ended " + completion.id() + " too early");
    }
  }
}
