package dev.gregale.web;

import dev.gregale.engine.GenerationRequest;
import dev.gregale.engine.RoutingShape;
import java.util.List;
import org.jspecify.annotations.Nullable;

/**
 * A request for text or chat as it is being answered.
 *
 * @param generation what the engine was asked; its id is the answer's id
 * @param prompts in the order of the request
 * @param model as the answer names it
 * @param created Unix seconds
 * @param n choices to return for each prompt
 * @param report what the answer holds beside the text
 * @param stream answer with events
 * @param usage what the events tell of the usage
 */
record Completion(
    GenerationRequest generation,
    List<Prompt> prompts,
    String model,
    long created,
    int n,
    Report report,
    boolean stream,
    StreamUsage usage) {

  /**
   * What an answer holds beside the generated text.
   *
   * @param echo the prompt in front of the text
   * @param logprobs the likeliest tokens at each place; -1 for no log-probabilities
   * @param promptLogprobs the same for the prompt, in a field of its own
   * @param tokenIds the token ids of prompt and answer
   * @param routedExperts what the routing to be reported is made of; null for no such report
   */
  record Report(
      boolean echo,
      int logprobs,
      int promptLogprobs,
      boolean tokenIds,
      @Nullable RoutingShape routedExperts) {}

  /** Which events of a stream tell the usage. */
  enum StreamUsage {
    NONE,
    LAST,
    EVERY;

    static StreamUsage of(GenerationFields request) {
      StreamOptions options = request.streamOptions();
      if (options == null || !Boolean.TRUE.equals(options.includeUsage())) {
        return NONE;
      }
      return Boolean.TRUE.equals(options.continuousUsageStats()) ? EVERY : LAST;
    }
  }

  String id() {
    return generation.requestId();
  }

  /** The same as asked by that caller. */
  Completion of(String caller) {
    return new Completion(
        generation.withCacheSalt(caller), prompts, model, created, n, report, stream, usage);
  }

  /** The prompt that a sequence of the engine continues. */
  Prompt promptOf(int sequence) {
    return prompts.get(sequence / generation.n());
  }
}
