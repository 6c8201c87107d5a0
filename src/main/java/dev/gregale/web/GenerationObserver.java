package dev.gregale.web;

import dev.gregale.engine.GenerationEvent;
import dev.gregale.sampling.SamplingParams;
import io.micrometer.core.instrument.MeterRegistry;
import io.micrometer.core.instrument.Timer;
import io.micrometer.observation.Observation;
import io.micrometer.observation.ObservationRegistry;
import io.micrometer.observation.contextpropagation.ObservationThreadLocalAccessor;
import io.micrometer.tracing.Span;
import io.micrometer.tracing.handler.TracingObservationHandler.TracingContext;
import java.util.concurrent.TimeUnit;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;
import org.springframework.stereotype.Component;
import reactor.core.publisher.Flux;
import reactor.core.publisher.SignalType;

/**
 * Watches what the engine does for a request: a span below that of the HTTP exchange, and so of the
 * caller's own trace, with OpenTelemetry's GenAI attributes; its metrics; and one line of log.
 */
@Component
final class GenerationObserver {
  private static final Logger log = LoggerFactory.getLogger("gregale.requests");
  private static final String DURATION = "gen_ai.server.request.duration";
  private static final String OPERATION = "gen_ai.operation.name";
  private static final String MODEL = "gen_ai.request.model";

  private final ObservationRegistry observations;
  private final MeterRegistry meters;

  GenerationObserver(ObservationRegistry observations, MeterRegistry meters) {
    this.observations = observations;
    this.meters = meters;
  }

  /**
   * The same events, watched.
   *
   * @param operation OpenTelemetry's name of what is done
   * @param requestId of the HTTP exchange
   */
  Flux<GenerationEvent> observe(
      Completion completion, String operation, String requestId, Flux<GenerationEvent> events) {
    return Flux.deferContextual(
        context -> {
          Observation observation = start(completion, operation);
          Observation parent = context.getOrDefault(ObservationThreadLocalAccessor.KEY, null);
          if (parent != null) {
            observation.parentObservation(parent);
          }
          observation.start();
          GenerationProgress progress = new GenerationProgress(requestId);
          return events
              .doOnNext(progress::accept)
              .doOnError(observation::error)
              .doFinally(signal -> end(completion, operation, observation, progress, signal));
        });
  }

  private Observation start(Completion completion, String operation) {
    return Observation.createNotStarted(DURATION, observations)
        .contextualName(operation + " " + completion.model())
        .lowCardinalityKeyValue(OPERATION, operation)
        .lowCardinalityKeyValue(MODEL, completion.model())
        .lowCardinalityKeyValue("gen_ai.provider.name", "gregale")
        .lowCardinalityKeyValue("gregale.outcome", "none");
  }

  /** What is told of the span alone; with tracing off there is none. */
  private static void tag(
      Observation observation, Completion completion, GenerationProgress progress) {
    TracingContext tracing = observation.getContext().get(TracingContext.class);
    Span span = tracing == null ? null : tracing.getSpan();
    if (span == null || span.isNoop()) {
      return;
    }
    SamplingParams params = completion.generation().params();
    span.tag("gen_ai.response.model", completion.model());
    span.tag("gen_ai.response.id", completion.id());
    span.tag("gregale.request.id", progress.requestId());
    span.tag("gen_ai.request.choice.count", completion.n());
    span.tag("gen_ai.request.max_tokens", params.maxTokens());
    span.tag("gen_ai.request.temperature", exact(params.temperature()));
    span.tag("gen_ai.request.top_p", exact(params.topP()));
    span.tag("gen_ai.request.top_k", params.topK());
    span.tag("gen_ai.request.frequency_penalty", exact(params.frequencyPenalty()));
    span.tag("gen_ai.request.presence_penalty", exact(params.presencePenalty()));
    if (params.seed() != null) {
      span.tag("gen_ai.request.seed", params.seed());
    }
    span.tagOfStrings("gen_ai.response.finish_reasons", progress.finishReasons());
    span.tag("gen_ai.usage.input_tokens", progress.promptTokens());
    span.tag("gen_ai.usage.output_tokens", progress.completionTokens());
  }

  /** 0.7, not 0.699999988079071. */
  private static double exact(float value) {
    return Double.parseDouble(Float.toString(value));
  }

  private void end(
      Completion completion,
      String operation,
      Observation observation,
      GenerationProgress progress,
      SignalType signal) {
    String outcome =
        switch (signal) {
          case ON_COMPLETE -> "completed";
          case CANCEL -> "cancelled";
          default -> "failed";
        };
    tag(observation, completion, progress);
    observation.lowCardinalityKeyValue("gregale.outcome", outcome).stop();
    if (progress.firstTokenNanos() >= 0) {
      time("gen_ai.server.time_to_first_token", completion, operation, progress.firstTokenNanos());
    }
    if (progress.meanNanosPerToken() >= 0) {
      time(
          "gen_ai.server.time_per_output_token",
          completion,
          operation,
          progress.meanNanosPerToken());
    }
    log.atDebug()
        .addKeyValue("request_id", progress.requestId())
        .addKeyValue("response_id", completion.id())
        .addKeyValue("outcome", outcome)
        .addKeyValue("prompt_tokens", progress.promptTokens())
        .addKeyValue("completion_tokens", progress.completionTokens())
        .addKeyValue("ttft_ms", progress.firstTokenNanos() / 1_000_000)
        .addKeyValue("duration_ms", progress.elapsedNanos() / 1_000_000)
        .log(
            "{} {} {} {}: {} + {} tokens, first after {} ms, {} ms in all",
            progress.requestId(),
            operation,
            completion.id(),
            outcome,
            progress.promptTokens(),
            progress.completionTokens(),
            progress.firstTokenNanos() / 1_000_000,
            progress.elapsedNanos() / 1_000_000);
  }

  private void time(String name, Completion completion, String operation, long nanos) {
    Timer.builder(name)
        .tag(OPERATION, operation)
        .tag(MODEL, completion.model())
        .register(meters)
        .record(nanos, TimeUnit.NANOSECONDS);
  }
}
