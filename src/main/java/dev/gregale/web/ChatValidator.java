package dev.gregale.web;

import static dev.gregale.web.Ranges.check;
import static dev.gregale.web.Ranges.range;
import static dev.gregale.web.SamplingValidator.isTrue;

import dev.gregale.engine.EngineInfo;
import dev.gregale.sampling.SamplingParams;
import org.jspecify.annotations.Nullable;

/** Checks a request for chat; refuses it with a 400. */
final class ChatValidator {
  private final ChatRequest request;
  private final EngineInfo info;
  private final SamplingValidator sampling;

  ChatValidator(ChatRequest request, EngineInfo info, ResponseFormats formats) {
    this.request = request;
    this.info = info;
    this.sampling = new SamplingValidator(request, info, true, formats);
  }

  /** Checks everything but the messages. */
  SamplingParams validate() {
    sampling.checkRequest();
    int n = sampling.n();
    int maxTokens = range(maxTokensField(), givenMaxTokens(), room(n), 0, info.maxModelLen());
    sampling.checkSize(1, n, maxTokens, maxTokensField());
    return SamplingValidator.checkCombination(
        sampling.withBeamSearch(sampling.sampling(maxTokens), n, "n").logprobs(logprobs()).build());
  }

  /** Answers to generate. */
  int n() {
    return sampling.n();
  }

  /** What the answer holds beside the text. */
  Completion.Report report() {
    return sampling.report(false, logprobs());
  }

  private int logprobs() {
    int top = range("top_logprobs", request.topLogprobs(), 0, 0, SamplingParams.MAX_LOGPROBS);
    boolean logprobs = isTrue(request.logprobs());
    check(logprobs || top == 0, "top_logprobs", "top_logprobs is allowed only with logprobs: true");
    return logprobs ? top : -1;
  }

  /** What the client said on the number of tokens, under either name. */
  @Nullable Integer givenMaxTokens() {
    Integer given = request.maxCompletionTokens();
    return given != null ? given : request.maxTokens();
  }

  private String maxTokensField() {
    return request.maxCompletionTokens() == null && request.maxTokens() != null
        ? "max_tokens"
        : "max_completion_tokens";
  }

  /** As much as one request may have; the engine ends where the context does. */
  private int room(int n) {
    return (int) Math.min(info.maxModelLen(), info.maxTokensPerRequest() / n);
  }
}
