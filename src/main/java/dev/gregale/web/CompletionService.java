package dev.gregale.web;

import static dev.gregale.web.Ranges.check;

import dev.gregale.engine.EngineInfo;
import dev.gregale.engine.GenerationEvent;
import dev.gregale.engine.GenerationRequest;
import dev.gregale.engine.LlmEngine;
import dev.gregale.sampling.SamplingParams;
import java.security.Principal;
import java.time.Duration;
import java.time.Instant;
import java.util.List;
import java.util.UUID;
import java.util.concurrent.atomic.AtomicBoolean;
import org.springframework.http.HttpStatus;
import org.springframework.http.MediaType;
import org.springframework.stereotype.Component;
import org.springframework.web.server.ServerWebExchange;
import reactor.core.Exceptions;
import reactor.core.publisher.Flux;
import reactor.core.publisher.Mono;
import reactor.core.scheduler.Schedulers;

/** Has the engine complete a prepared request, and writes its answer or its stream. */
@Component
final class CompletionService {
  /** Events taken at a time from those that wait for the client. */
  private static final int PREFETCH = 32;

  /** Ids that one answer may hold: some megabytes of text. */
  private static final int MAX_ROUTED_EXPERTS = 4 << 20;

  private final LlmEngine engine;
  private final TokenTexts texts;
  private final JsonReplies replies;
  private final GenerationObserver observer;
  private final int streamBuffer;
  private final Duration timeout;

  CompletionService(
      LlmEngine engine,
      TokenTexts texts,
      JsonReplies replies,
      GenerationObserver observer,
      ApiProperties properties) {
    this.engine = engine;
    this.texts = texts;
    this.replies = replies;
    this.observer = observer;
    this.streamBuffer = properties.streamBuffer();
    this.timeout = properties.generationTimeout();
  }

  /**
   * A checked request, ready to be answered.
   *
   * @param idPrefix of the answer's id
   * @param n choices to return for each prompt
   * @param bestOf sequences to generate for each prompt
   */
  Completion prepare(
      String idPrefix,
      GenerationFields request,
      List<Prompt> prompts,
      SamplingParams params,
      int n,
      int bestOf,
      Completion.Report report) {
    EngineInfo info = engine.info();
    if (report.routedExperts() != null) {
      checkRoutedExperts(prompts, params.maxTokens(), bestOf, info);
    }
    return new Completion(
        new GenerationRequest(
            idPrefix + UUID.randomUUID().toString().replace("-", ""),
            prompts.stream().map(Prompt::tokenIds).toList(),
            bestOf,
            params,
            null,
            SamplingValidator.priority(request)),
        prompts,
        info.modelName(),
        Instant.now().getEpochSecond(),
        n,
        report,
        Boolean.TRUE.equals(request.stream()),
        Completion.StreamUsage.of(request));
  }

  /** What they would take is known only with the prompts' lengths. */
  private static void checkRoutedExperts(
      List<Prompt> prompts, int maxTokens, int bestOf, EngineInfo info) {
    long tokens = 0;
    for (Prompt prompt : prompts) {
      long longest = (long) prompt.tokenIds().length + maxTokens;
      tokens += bestOf * Math.min(longest, info.maxModelLen());
    }
    long most = MAX_ROUTED_EXPERTS / info.routing().idsPerToken();
    check(
        tokens <= most,
        "return_routed_experts",
        "return_routed_experts is for requests of up to %d tokens, prompts and answers, but this one"
                .formatted(most)
            + " may have %d; ask for fewer".formatted(tokens));
  }

  /** Answers a request, in its own way, in the format of its route. */
  <L> Mono<Void> reply(Completion completion, ReplyFormat<L> format, ServerWebExchange exchange) {
    return exchange
        .<Principal>getPrincipal()
        .map(caller -> completion.of(caller.getName()))
        .defaultIfEmpty(completion)
        .flatMap(c -> c.stream() ? stream(c, format, exchange) : answer(c, format, exchange));
  }

  /**
   * The engine's events, off its own thread.
   *
   * @param buffer how many may wait; one more cancels the subscription, which aborts the request
   */
  private Flux<GenerationEvent> events(
      Completion completion, String operation, ServerWebExchange exchange, int buffer) {
    Flux<GenerationEvent> events = Flux.defer(() -> generate(completion.generation()));
    return observer
        .observe(completion, operation, RequestIdFilter.idOf(exchange), events)
        .onBackpressureBuffer(buffer)
        .onErrorMap(Exceptions::isOverflow, e -> tooSlow())
        .publishOn(Schedulers.parallel(), PREFETCH);
  }

  /** The engine's events; an error, and the request's end, if they take too long to end. */
  private Flux<GenerationEvent> generate(GenerationRequest request) {
    AtomicBoolean late = new AtomicBoolean();
    return engine
        .generate(request)
        .takeUntilOther(Mono.delay(timeout).doOnNext(tick -> late.set(true)))
        .concatWith(Mono.defer(() -> late.get() ? Mono.error(tookTooLong()) : Mono.empty()));
  }

  /** Asking again would take as long again; OpenAI's clients heed the header. */
  private ApiException tookTooLong() {
    return new ApiException(
            HttpStatus.GATEWAY_TIMEOUT,
            "The request was aborted after %s s, the limit of this server; ask for fewer tokens"
                .formatted(timeout.toMillis() / 1000.0),
            "server_error",
            null,
            "generation_timeout")
        .withHeader("x-should-retry", "false");
  }

  private static ApiException tooSlow() {
    return ApiException.refused(
        HttpStatus.REQUEST_TIMEOUT,
        "The request was aborted, because the client reads more slowly than the model writes",
        "client_too_slow");
  }

  private <L> Mono<Void> answer(
      Completion completion, ReplyFormat<L> format, ServerWebExchange exchange) {
    // Whatever comes is collected at once; how much that can be was checked with the request.
    return events(completion, format.operation(), exchange, Integer.MAX_VALUE)
        .collect(
            () -> new CompletionAssembler<>(completion, format, texts), CompletionAssembler::accept)
        .map(CompletionAssembler::response)
        .flatMap(
            response ->
                replies.write(exchange.getResponse(), MediaType.APPLICATION_JSON, response));
  }

  private <L> Mono<Void> stream(
      Completion completion, ReplyFormat<L> format, ServerWebExchange exchange) {
    CompletionChunks<L> chunks = new CompletionChunks<>(completion, format, texts);
    AtomicBoolean begun = new AtomicBoolean();
    // An event's frames stay together, for an error must not overtake any of them.
    Flux<List<String>> frames =
        events(
                completion,
                format.operation(),
                exchange,
                streamBuffer * completion.generation().numSequences())
            .map(chunks::of)
            .concatWith(Mono.fromCallable(chunks::end))
            .filter(list -> !list.isEmpty())
            .map(list -> list.stream().map(replies::json).toList())
            // Before the first frame an error has a status of its own, later it is a frame.
            .doOnNext(list -> begun.set(true))
            .onErrorResume(e -> begun.get(), e -> errorFrame(exchange, e))
            .concatWithValues(List.of("[DONE]"));
    Flux<String> data = frames.concatMapIterable(list -> list, PREFETCH);
    return replies.writeEvents(exchange.getResponse(), data);
  }

  private Mono<List<String>> errorFrame(ServerWebExchange exchange, Throwable failure) {
    return Mono.just(
        List.of(replies.json(ApiExceptionHandler.translate(exchange, failure).body())));
  }
}
