package dev.gregale.engine;

import dev.gregale.sampling.BeamSearchParams;
import dev.gregale.sampling.Combinations;
import dev.gregale.sampling.SamplingParams;
import dev.gregale.sampling.TokenConstraint;
import org.jspecify.annotations.Nullable;

/** What would harm the engine, however well requests are checked where they come in. */
final class RequestChecks {
  private final EngineInfo info;

  RequestChecks(EngineInfo info) {
    this.info = info;
  }

  /**
   * @throws IllegalArgumentException saying what is wrong
   */
  void check(GenerationRequest request) {
    SamplingParams params = request.params();
    require(!request.prompts().isEmpty(), "the request has no prompt");
    require(request.n() >= 1, "n is " + request.n() + ", but must be at least 1");
    require(params.maxTokens() >= 0, "max_tokens is " + params.maxTokens());
    BeamSearchParams beams = params.beamSearch();
    long sequences =
        (long) request.prompts().size() * (beams == null ? request.n() : beams.width());
    require(
        sequences <= info.maxSequencesPerRequest(),
        "prompts times n is %d, but at most %d are allowed"
            .formatted(sequences, info.maxSequencesPerRequest()));
    require(
        request.priority() == 0 || info.schedulingPolicy() == SchedulingPolicy.PRIORITY,
        "priority is %d, but scheduling-policy is not priority".formatted(request.priority()));
    int maxTokens = Math.min(params.maxTokens(), info.maxModelLen());
    require(
        sequences * maxTokens <= info.maxTokensPerRequest(),
        "prompts times n times max_tokens is %d, but at most %d are allowed"
            .formatted(sequences * maxTokens, info.maxTokensPerRequest()));
    for (int[] prompt : request.prompts()) {
      for (int token : prompt) {
        requireToken("prompt", token);
      }
    }
    params.logitBias().keySet().forEach(token -> requireToken("logit_bias", token));
    params.stopTokenIds().forEach(token -> requireToken("stop_token_ids", token));
    TokenConstraint constraint = params.structuredOutput();
    if (constraint != null) {
      require(
          constraint.vocabSize() == info.vocabSize(),
          "the structured output is made for a vocabulary of %d tokens, but this model has %d"
              .formatted(constraint.vocabSize(), info.vocabSize()));
    }
    requireAlone("structured output", Combinations.besideStructuredOutput(params));
    if (beams != null) {
      require(
          beams.width() >= request.n() && beams.width() <= BeamSearchParams.MAX_WIDTH,
          "the beam width is %d, but must be from n (%d) to %d"
              .formatted(beams.width(), request.n(), BeamSearchParams.MAX_WIDTH));
      require(params.maxTokens() > 0, "beam search needs max_tokens of at least 1");
      require(Double.isFinite(beams.lengthPenalty()), "length_penalty is no number");
    }
    requireAlone("beam search", Combinations.besideBeamSearch(params));
    requireLogprobs("logprobs", params.logprobs());
    requireLogprobs("prompt_logprobs", params.promptLogprobs());
  }

  private static void requireAlone(String what, @Nullable String beside) {
    require(beside == null, beside + " does not go with " + what);
  }

  private void requireToken(String where, int token) {
    if (token < 0 || token >= info.vocabSize()) { // the message is made for none of the good ones
      throw new IllegalArgumentException(
          "%s holds token id %d, but ids run from 0 to %d"
              .formatted(where, token, info.vocabSize() - 1));
    }
  }

  private static void requireLogprobs(String name, int value) {
    require(
        value >= -1 && value <= SamplingParams.MAX_LOGPROBS,
        "%s is %d, but at most %d are given".formatted(name, value, SamplingParams.MAX_LOGPROBS));
  }

  private static void require(boolean condition, String message) {
    if (!condition) {
      throw new IllegalArgumentException(message);
    }
  }
}
