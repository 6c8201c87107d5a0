package dev.gregale.cli;

import dev.gregale.cli.ScoringWindows.Window;
import dev.gregale.engine.GenerationEvent.PromptScored;
import dev.gregale.engine.GenerationRequest;
import dev.gregale.engine.LlmEngine;
import dev.gregale.engine.TokenLogprob;
import dev.gregale.sampling.SamplingParams;
import java.util.List;
import java.util.Objects;
import reactor.core.publisher.Flux;
import reactor.core.publisher.Mono;

/**
 * Scores windows of a text as prompts, by the same way as a request with {@code echo}. Only a few
 * windows are in memory at a time.
 */
final class Perplexity {
  private static final SamplingParams SCORING =
      SamplingParams.builder().maxTokens(0).promptLogprobs(0).build();

  private final LlmEngine engine;
  private final int concurrency;

  /**
   * The sum over some windows.
   *
   * @param windows how many
   * @param tokens scored
   * @param negativeLogLikelihood of all of them, in nats
   */
  record Score(int windows, long tokens, double negativeLogLikelihood) {
    static final Score NONE = new Score(0, 0, 0);

    Score plus(Score other) {
      return new Score(
          windows + other.windows,
          tokens + other.tokens,
          negativeLogLikelihood + other.negativeLogLikelihood);
    }

    /** Mean, in nats. */
    double loss() {
      return negativeLogLikelihood / tokens;
    }
  }

  /**
   * @param concurrency windows that run together
   */
  Perplexity(LlmEngine engine, int concurrency) {
    this.engine = engine;
    this.concurrency = concurrency;
  }

  /**
   * The score of a text, summed in its windows' order.
   *
   * @param contextTokens of a window
   * @param stride tokens from window to window
   * @param maxWindows at most
   */
  Score score(ScoredText text, int contextTokens, int stride, long maxWindows) {
    Score total =
        Flux.fromIterable(text.sequences())
            .concatMapIterable(
                ids -> () -> new ScoringWindows(ids, text.bos(), contextTokens, stride), 1)
            .take(maxWindows)
            .flatMapSequential(this::score, concurrency, 1)
            .reduce(Score.NONE, Score::plus)
            .block();
    return Objects.requireNonNull(total);
  }

  private Mono<Score> score(Window window) {
    GenerationRequest request =
        new GenerationRequest("perplexity", List.of(window.tokenIds()), 1, SCORING, null, 0);
    return engine
        .generate(request)
        .ofType(PromptScored.class)
        .single()
        .map(
            event ->
                new Score(
                    1,
                    window.numScored(),
                    -event.tokens().stream()
                        .skip(window.scoredFrom())
                        .mapToDouble(TokenLogprob::logprob)
                        .sum()));
  }
}
