package dev.gregale.web;

import dev.gregale.engine.EngineInfo;
import dev.gregale.engine.LlmEngine;
import dev.gregale.sampling.SamplingParams;
import dev.gregale.tokenizer.Tokenizer;
import java.util.List;
import org.jspecify.annotations.Nullable;
import org.springframework.web.bind.annotation.RestController;
import org.springframework.web.server.ServerWebExchange;
import reactor.core.publisher.Mono;

/** Text completion. */
@RestController
final class CompletionController implements CompletionApi {
  private final LlmEngine engine;
  private final @Nullable Tokenizer tokenizer;
  private final RequestReader requests;
  private final CompletionService completions;
  private final ResponseFormats formats;
  private final CompletionFormat format;

  CompletionController(
      LlmEngine engine,
      @Nullable Tokenizer tokenizer,
      RequestReader requests,
      CompletionService completions,
      ResponseFormats formats,
      CompletionFormat format) {
    this.engine = engine;
    this.tokenizer = tokenizer;
    this.requests = requests;
    this.completions = completions;
    this.formats = formats;
    this.format = format;
  }

  @Override
  public Mono<Void> createCompletion(ServerWebExchange exchange) {
    return requests
        .readIfRoom(exchange, CompletionRequest.class, this::prepare)
        .flatMap(completion -> completions.reply(completion, format, exchange));
  }

  private Completion prepare(CompletionRequest request) {
    EngineInfo info = engine.info();
    CompletionValidator validator =
        new CompletionValidator(request, info, tokenizer != null, formats);
    SamplingParams params = validator.validate();
    Completion.Report report = validator.report();
    boolean textNeeded = report.echo() || report.logprobs() >= 0;
    List<Prompt> prompts =
        new PromptEncoder(tokenizer, info, request, params, request.maxTokens(), textNeeded)
            .encode(request.prompt());
    return completions.prepare(
        "cmpl-", request, prompts, params, validator.n(), validator.sequences(), report);
  }
}
