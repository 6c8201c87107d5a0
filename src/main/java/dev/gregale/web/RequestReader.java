package dev.gregale.web;

import dev.gregale.engine.LlmEngine;
import java.util.function.Function;
import org.springframework.stereotype.Component;
import org.springframework.web.server.ServerWebExchange;
import reactor.core.publisher.Mono;

/** Reads JSON requests and prepares what they ask for, off the event loops. */
@Component
final class RequestReader {
  private final BodyReader bodies;
  private final RequestParser parser;
  private final RequestWorkers workers;
  private final LlmEngine engine;

  RequestReader(BodyReader bodies, RequestParser parser, RequestWorkers workers, LlmEngine engine) {
    this.engine = engine;
    this.bodies = bodies;
    this.parser = parser;
    this.workers = workers;
  }

  /**
   * Reads a request to generate, unless the engine has no room for it anyway.
   *
   * @param prepare runs on the workers
   */
  <R, T> Mono<T> readIfRoom(ServerWebExchange exchange, Class<R> type, Function<R, T> prepare) {
    return Mono.defer(
        () -> {
          engine.requireRoom();
          return read(exchange, type, prepare);
        });
  }

  /**
   * @param prepare runs on the workers
   */
  <R, T> Mono<T> read(ServerWebExchange exchange, Class<R> type, Function<R, T> prepare) {
    return bodies
        .read(exchange.getRequest())
        .flatMap(body -> workers.call(() -> prepare.apply(parser.parse(body, type))));
  }
}
