package dev.gregale.web;

import dev.gregale.engine.EngineInfo;
import dev.gregale.engine.GenerationEvent;
import dev.gregale.engine.GenerationRequest;
import dev.gregale.engine.LlmEngine;
import dev.gregale.sampling.SamplingParams;
import dev.gregale.tokenizer.Tokenizer;
import java.time.Instant;
import java.util.List;
import java.util.UUID;
import org.jspecify.annotations.Nullable;
import org.springframework.http.HttpStatus;
import org.springframework.http.MediaType;
import org.springframework.web.bind.annotation.RestController;
import org.springframework.web.server.ServerWebExchange;
import reactor.core.Exceptions;
import reactor.core.publisher.Flux;
import reactor.core.publisher.Mono;
import reactor.core.scheduler.Schedulers;

/** Text completion. */
@RestController
final class CompletionController implements CompletionApi {
  /** Events taken at a time from those that wait for the client. */
  private static final int PREFETCH = 32;

  private final LlmEngine engine;
  private final @Nullable Tokenizer tokenizer;
  private final TokenTexts texts;
  private final BodyReader bodies;
  private final CompletionRequestParser parser;
  private final RequestWorkers workers;
  private final JsonReplies replies;
  private final int streamBuffer;

  CompletionController(
      LlmEngine engine,
      @Nullable Tokenizer tokenizer,
      BodyReader bodies,
      CompletionRequestParser parser,
      RequestWorkers workers,
      JsonReplies replies,
      ApiProperties properties) {
    this.engine = engine;
    this.tokenizer = tokenizer;
    this.texts = new TokenTexts(tokenizer);
    this.bodies = bodies;
    this.parser = parser;
    this.workers = workers;
    this.replies = replies;
    this.streamBuffer = properties.streamBuffer();
  }

  @Override
  public Mono<Void> createCompletion(ServerWebExchange exchange) {
    return bodies
        .read(exchange.getRequest())
        .flatMap(body -> workers.call(() -> prepare(body)))
        .flatMap(c -> c.stream() ? stream(c, exchange) : answer(c, exchange));
  }

  private Completion prepare(byte[] body) {
    CompletionRequest request = parser.parse(body);
    EngineInfo info = engine.info();
    CompletionValidator validator = new CompletionValidator(request, info, tokenizer != null);
    SamplingParams params = validator.validate();
    List<Prompt> prompts = new PromptEncoder(tokenizer, info, request, params).encode();
    GenerationRequest generation =
        new GenerationRequest(
            "cmpl-" + UUID.randomUUID().toString().replace("-", ""),
            prompts.stream().map(Prompt::tokenIds).toList(),
            validator.bestOf(),
            params);
    CompletionRequest.StreamOptions options = request.streamOptions();
    return new Completion(
        generation,
        prompts,
        info.modelName(),
        Instant.now().getEpochSecond(),
        validator.n(),
        Boolean.TRUE.equals(request.echo()),
        request.logprobs() != null,
        Boolean.TRUE.equals(request.stream()),
        options != null && Boolean.TRUE.equals(options.includeUsage()));
  }

  /**
   * The engine's events, off its own thread.
   *
   * @param buffer how many may wait; one more cancels the subscription, which aborts the request
   */
  private Flux<GenerationEvent> events(Completion completion, int buffer) {
    return Flux.defer(() -> engine.generate(completion.generation()))
        .onBackpressureBuffer(buffer)
        .onErrorMap(Exceptions::isOverflow, e -> tooSlow())
        .publishOn(Schedulers.parallel(), PREFETCH);
  }

  private static ApiException tooSlow() {
    return ApiException.refused(
        HttpStatus.REQUEST_TIMEOUT,
        "The request was aborted, because the client reads more slowly than the model writes",
        "client_too_slow");
  }

  private Mono<Void> answer(Completion completion, ServerWebExchange exchange) {
    // Whatever comes is collected at once; how much that can be was checked with the request.
    return events(completion, Integer.MAX_VALUE)
        .collect(() -> new CompletionAssembler(completion, texts), CompletionAssembler::accept)
        .map(CompletionAssembler::response)
        .flatMap(
            response ->
                replies.write(exchange.getResponse(), MediaType.APPLICATION_JSON, response));
  }

  private Mono<Void> stream(Completion completion, ServerWebExchange exchange) {
    CompletionChunks chunks = new CompletionChunks(completion, texts);
    Flux<String> data =
        events(completion, streamBuffer * completion.generation().numSequences())
            .concatMapIterable(chunks::of, PREFETCH)
            .concatWith(Flux.defer(() -> Flux.fromIterable(chunks.end())))
            .map(replies::json)
            // Before the first event an error has a status of its own, later it is an event.
            .switchOnFirst(
                (first, all) ->
                    first.isOnError() ? all : all.onErrorResume(e -> errorEvent(exchange, e)))
            .concatWithValues("[DONE]");
    return replies.writeEvents(exchange.getResponse(), data);
  }

  private Mono<String> errorEvent(ServerWebExchange exchange, Throwable failure) {
    return Mono.just(replies.json(ApiExceptionHandler.translate(exchange, failure).body()));
  }
}
