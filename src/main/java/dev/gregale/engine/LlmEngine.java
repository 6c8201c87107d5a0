package dev.gregale.engine;

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
