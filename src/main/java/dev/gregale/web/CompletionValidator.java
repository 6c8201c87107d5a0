package dev.gregale.web;

import static dev.gregale.web.Ranges.check;
import static dev.gregale.web.Ranges.range;
import static dev.gregale.web.SamplingValidator.isTrue;

import dev.gregale.engine.EngineInfo;
import dev.gregale.sampling.SamplingParams;

/** Checks a request for text; refuses it with a 400. */
final class CompletionValidator {
  private static final int DEFAULT_MAX_TOKENS = 16;
  private static final int MAX_BEST_OF = 20;
  private static final int MAX_LOGPROBS = 5;

  private final CompletionRequest request;
  private final EngineInfo info;
  private final SamplingValidator sampling;

  CompletionValidator(
      CompletionRequest request, EngineInfo info, boolean hasTokenizer, ResponseFormats formats) {
    this.request = request;
    this.info = info;
    this.sampling = new SamplingValidator(request, info, hasTokenizer, formats);
  }

  /** Checks everything but the prompts' contents. */
  SamplingParams validate() {
    sampling.checkRequest();
    checkUnsupported();
    SamplingParams params = samplingParams();
    PromptInput prompt = request.prompt();
    sampling.checkSize(
        prompt == null ? 1 : prompt.size(), bestOf(), params.maxTokens(), "max_tokens");
    return params;
  }

  /** Completions of each prompt. */
  int n() {
    return sampling.n();
  }

  /** Sequences that the engine is to answer with for each prompt. */
  int sequences() {
    return sampling.usesBeamSearch() ? n() : bestOf();
  }

  /** Sequences to choose from, or beams, for each prompt. */
  private int bestOf() {
    int n = n();
    Integer bestOf = request.bestOf();
    if (bestOf == null) {
      return n;
    }
    check(
        bestOf >= n && bestOf <= MAX_BEST_OF,
        "best_of",
        "best_of must be between n (%d) and %d, but is %d".formatted(n, MAX_BEST_OF, bestOf));
    return bestOf;
  }

  /** What the answer holds beside the text. */
  Completion.Report report() {
    return sampling.report(isTrue(request.echo()), logprobs());
  }

  private int logprobs() {
    return range("logprobs", request.logprobs(), -1, 0, MAX_LOGPROBS);
  }

  private void checkUnsupported() {
    check(
        request.suffix() == null, "suffix", "suffix is not supported by this model; leave it out");
    check(
        !isTrue(request.stream()) || bestOf() == n(),
        "best_of",
        "best_of above n cannot be streamed; leave it out or set stream to false");
  }

  private SamplingParams samplingParams() {
    int maxTokens =
        range("max_tokens", request.maxTokens(), DEFAULT_MAX_TOKENS, 0, info.maxModelLen());
    int logprobs = logprobs();
    int echoed = isTrue(request.echo()) ? logprobs : -1;
    String widthField = request.bestOf() == null ? "n" : "best_of";
    return SamplingValidator.checkCombination(
        sampling
            .withBeamSearch(sampling.sampling(maxTokens), bestOf(), widthField)
            // best_of ranks by log-probability, so it needs them even where the client does not.
            .logprobs(sequences() > n() ? Math.max(0, logprobs) : logprobs)
            .promptLogprobs(Math.max(echoed, sampling.promptLogprobs()))
            .build());
  }
}
