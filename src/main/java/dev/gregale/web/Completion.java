package dev.gregale.web;

import dev.gregale.engine.GenerationRequest;
import java.util.List;
import org.jspecify.annotations.Nullable;

/**
 * A request as it is being answered.
 *
 * @param generation what the engine was asked; its id is the answer's id
 * @param prompts in the order of the request
 * @param model as the answer names it
 * @param created Unix seconds
 * @param n choices to return for each prompt
 * @param echo put the prompt in front of the text
 * @param logprobs report log-probabilities
 * @param stream answer with events
 * @param includeUsage end the events with the usage
 */
record Completion(
    GenerationRequest generation,
    List<Prompt> prompts,
    String model,
    long created,
    int n,
    boolean echo,
    boolean logprobs,
    boolean stream,
    boolean includeUsage) {

  String id() {
    return generation.requestId();
  }

  /** What formats the log-probabilities of a sequence; null if they are not reported. */
  @Nullable LogprobsFormatter logprobsFormatter(TokenTexts texts, int sequence) {
    return logprobs
        ? new LogprobsFormatter(texts, promptOf(sequence), generation.params().skipSpecialTokens())
        : null;
  }

  /** The prompt that a sequence of the engine continues. */
  Prompt promptOf(int sequence) {
    return prompts.get(sequence / generation.n());
  }
}
