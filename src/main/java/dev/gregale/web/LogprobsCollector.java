package dev.gregale.web;

import dev.gregale.engine.TokenLogprob;
import java.util.List;
import org.jspecify.annotations.Nullable;

/**
 * Collects the log-probabilities of one sequence in the shape of one route's answers.
 *
 * @param <L> that shape
 */
interface LogprobsCollector<L> {
  /** JSON has no infinity; vLLM's figure for "never". */
  float LOWEST = -9999;

  /** Adds the whole prompt, before all else. */
  void addPrompt(List<TokenLogprob> tokens);

  /** Adds tokens that follow those before. */
  void add(List<TokenLogprob> tokens);

  /** What was added since the last call; null if nothing was. */
  @Nullable L take();

  static float finite(float logprob) {
    return Math.max(logprob, LOWEST);
  }
}
