package dev.gregale.web;

import java.nio.charset.StandardCharsets;
import org.springframework.core.io.buffer.DataBuffer;
import org.springframework.http.CacheControl;
import org.springframework.http.MediaType;
import org.springframework.http.server.reactive.ServerHttpResponse;
import org.springframework.stereotype.Component;
import reactor.core.publisher.Flux;
import reactor.core.publisher.Mono;
import reactor.core.publisher.Sinks;
import tools.jackson.databind.json.JsonMapper;

/** Writes a reply as one JSON document or as server-sent events. */
@Component
final class JsonReplies {
  private static final MediaType EVENT_STREAM =
      new MediaType(MediaType.TEXT_EVENT_STREAM, StandardCharsets.UTF_8);

  private final JsonMapper mapper;

  JsonReplies(JsonMapper mapper) {
    this.mapper = mapper;
  }

  String json(Object value) {
    return mapper.writeValueAsString(value);
  }

  Mono<Void> write(ServerHttpResponse response, MediaType type, Object value) {
    byte[] bytes = mapper.writeValueAsBytes(value);
    response.getHeaders().setContentType(type);
    response.getHeaders().setContentLength(bytes.length);
    return response.writeWith(Mono.just(response.bufferFactory().wrap(bytes)));
  }

  /**
   * Writes each text as one data-only event. Reactor Netty sends what it has got whenever nothing
   * more is waiting, so an event leaves at once. Nothing is sent before the first text, so an error
   * before it can still have its own status.
   *
   * <p>Not by writeAndFlushWith: it concatenates a flush to every event, and Reactor's
   * FluxConcatArray (3.8.8) can lose a request that another thread makes while it goes from one to
   * the other. The client then waits for ever.
   *
   * <p>The data is let go of when the writing ends, however it ends: where the client is gone
   * before the first text, Reactor Netty refuses to write, and Spring's ChannelSendOperator
   * (7.0.10), which has subscribed already, passes that on without cancelling.
   */
  Mono<Void> writeEvents(ServerHttpResponse response, Flux<String> data) {
    response.getHeaders().setContentType(EVENT_STREAM);
    response.getHeaders().setCacheControl(CacheControl.noStore());
    response.getHeaders().set("X-Accel-Buffering", "no"); // nginx would hold events back
    Sinks.Empty<Void> written = Sinks.empty();
    return response
        .writeWith(data.takeUntilOther(written.asMono()).map(text -> event(response, text)))
        .doFinally(end -> written.tryEmitEmpty());
  }

  private static DataBuffer event(ServerHttpResponse response, String text) {
    byte[] bytes = ("data: " + text + "\n\n").getBytes(StandardCharsets.UTF_8);
    return response.bufferFactory().wrap(bytes);
  }
}
