package dev.gregale.web;

import static org.assertj.core.api.Assertions.assertThat;

import java.util.concurrent.atomic.AtomicBoolean;
import org.junit.jupiter.api.Test;
import org.springframework.mock.http.server.reactive.MockServerHttpResponse;
import reactor.core.publisher.Flux;
import reactor.core.publisher.Mono;
import reactor.core.publisher.Sinks;
import tools.jackson.databind.json.JsonMapper;

class JsonRepliesTest {
  private final JsonReplies replies = new JsonReplies(JsonMapper.shared());
  private final MockServerHttpResponse response = new MockServerHttpResponse();

  /** As Reactor Netty does where the client is gone before the first text. */
  @Test
  void aRefusedWriteLetsGoOfTheData() {
    response.setWriteHandler(body -> Mono.error(new IllegalStateException("gone")));
    AtomicBoolean cancelled = new AtomicBoolean();
    Sinks.Many<String> data = Sinks.many().unicast().onBackpressureBuffer();
    Mono<Void> written =
        replies.writeEvents(response, data.asFlux().doOnCancel(() -> cancelled.set(true)));
    Mono<String> outcome = written.thenReturn("written").onErrorResume(e -> Mono.just("refused"));
    data.tryEmitNext("first");
    assertThat(outcome.block()).isEqualTo("refused");
    assertThat(cancelled).isTrue();
  }

  @Test
  void eventsAreWrittenToTheLast() {
    replies.writeEvents(response, Flux.just("a", "b", "[DONE]")).block();
    assertThat(response.getBodyAsString().block())
        .isEqualTo("data: a\n\ndata: b\n\ndata: [DONE]\n\n");
  }
}
