package dev.gregale.engine;

import java.util.List;
import java.util.stream.IntStream;
import reactor.core.publisher.Flux;

/** The running model: takes requests, streams events. Safe for use by any thread. */
public interface LlmEngine {

  /**
   * Admits a request when the result is subscribed to, and streams its events. Cancelling the
   * subscription aborts all its sequences: no step is scheduled with them any more.
   *
   * <p>Errors: {@link EngineOverloadedException} if the queue is full, {@link
   * EngineUnavailableException} if the engine is stopping or failed.
   */
  Flux<GenerationEvent> generate(GenerationRequest request);

  /**
   * {@link #generate} for callers that wait, as on a virtual thread: one result per sequence, in
   * order. An interrupt aborts the request. Not for threads of Reactor, which must not wait.
   */
  default List<GenerationResult> generateBlocking(GenerationRequest request) {
    List<ResultCollector> results =
        IntStream.range(0, request.numSequences()).mapToObj(i -> new ResultCollector()).toList();
    generate(request).doOnNext(event -> results.get(event.index()).add(event)).blockLast();
    return results.stream().map(ResultCollector::result).toList();
  }

  /**
   * Refuses at once, as {@link #generate} would, where not even a request of one sequence would be
   * let in: so that nobody reads and tokenises what cannot run.
   *
   * @throws EngineOverloadedException if the queue is full
   * @throws EngineUnavailableException if the engine is not serving
   */
  default void requireRoom() {}

  /** Limits and state that callers check requests against. */
  EngineInfo info();
}
