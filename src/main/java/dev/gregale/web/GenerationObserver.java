package dev.gregale.web;

import dev.gregale.engine.GenerationEvent;
import dev.gregale.sampling.SamplingParams;
import io.micrometer.core.instrument.MeterRegistry;
import io.micrometer.core.instrument.Timer;
import io.micrometer.observation.Observation;
import io.micrometer.observation.ObservationRegistry;
import io.micrometer.observation.contextpropagation.ObservationThreadLocalAccessor;
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
   */
  Flux<GenerationEvent> observe(
      Completion completion, String operation, Flux<GenerationEvent> events) {
    return Flux.deferContextual(
        context -> {
          Observation observation = start(completion, operation);
          Observation parent = context.getOrDefault(ObservationThreadLocalAccessor.KEY, null);
          if (parent != null) {
            observation.parentObservation(parent);
          }
          observation.start();
          GenerationProgress progress = new GenerationProgress();
          return events
              .doOnNext(progress::accept)
              .doOnError(observation::error)
              .doFinally(signal -> end(completion, operation, observation, progress, signal));
        });
  }

  private Observation start(Completion completion, String operation) {
    SamplingParams params = completion.generation().params();
    Observation observation =
        Observation.createNotStarted(DURATION, observations)
            .contextualName(operation + " " + completion.model())
            .lowCardinalityKeyValue(OPERATION, operation)
            .lowCardinalityKeyValue(MODEL, completion.model())
            .lowCardinalityKeyValue("gen_ai.provider.name", "gregale")
            .lowCardinalityKeyValue("gregale.outcome", "none")
            .highCardinalityKeyValue("gen_ai.response.model", completion.model())
            .highCardinalityKeyValue("gen_ai.response.id", completion.id())
            .highCardinalityKeyValue("gen_ai.request.choice.count", "" + completion.n())
            .highCardinalityKeyValue("gen_ai.request.max_tokens", "" + params.maxTokens())
            .highCardinalityKeyValue("gen_ai.request.temperature", "" + params.temperature())
            .highCardinalityKeyValue("gen_ai.request.top_p", "" + params.topP())
            .highCardinalityKeyValue("gen_ai.request.top_k", "" + params.topK())
            .highCardinalityKeyValue(
                "gen_ai.request.frequency_penalty", "" + params.frequencyPenalty())
            .highCardinalityKeyValue(
                "gen_ai.request.presence_penalty", "" + params.presencePenalty());
    if (params.seed() != null) {
      observation.highCardinalityKeyValue("gen_ai.request.seed", params.seed().toString());
    }
    return observation;
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
    observation
        .lowCardinalityKeyValue("gregale.outcome", outcome)
        .highCardinalityKeyValue("gen_ai.response.finish_reasons", progress.finishReasons())
        .highCardinalityKeyValue("gen_ai.usage.input_tokens", "" + progress.promptTokens())
        .highCardinalityKeyValue("gen_ai.usage.output_tokens", "" + progress.completionTokens())
        .stop();
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
        .addKeyValue("request_id", completion.id())
        .addKeyValue("outcome", outcome)
        .addKeyValue("prompt_tokens", progress.promptTokens())
        .addKeyValue("completion_tokens", progress.completionTokens())
        .addKeyValue("ttft_ms", progress.firstTokenNanos() / 1_000_000)
        .addKeyValue("duration_ms", progress.elapsedNanos() / 1_000_000)
        .log(
            "{} {} {}: {} + {} tokens, first after {} ms, {} ms in all",
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
