package dev.gregale.web;

import static org.assertj.core.api.Assertions.assertThat;

import dev.gregale.engine.EngineOverloadedException;
import dev.gregale.engine.EngineUnavailableException;
import java.net.http.HttpResponse;
import java.util.List;
import org.junit.jupiter.api.Test;
import reactor.core.publisher.Flux;

/** What the engine refuses or fails at, as clients are told. */
class EngineErrorsTest extends WebTest {
  private static final String STREAM = "{\"model\":\"stub\",\"prompt\":\"Once\",\"stream\":true}";
  private static final String WHOLE = "{\"model\":\"stub\",\"prompt\":\"Once\"}";

  @Test
  void overloadIs429WithRetryAfter() throws Exception {
    engine.answer = request -> Flux.error(new EngineOverloadedException("The queue is full", 7));
    for (String body : List.of(STREAM, WHOLE)) {
      HttpResponse<String> response = complete(body);
      assertThat(response.statusCode()).isEqualTo(429);
      assertThat(response.headers().firstValue("Retry-After")).hasValue("7");
      assertThat(error(response).toString())
          .isEqualTo(
              "{\"message\":\"The queue is full; try again in 7 s\",\"type\":\"rate_limit_error\","
                  + "\"param\":null,\"code\":\"engine_overloaded\"}");
    }
  }

  @Test
  void unavailableIs503WithRetryAfterAndNoInternals() throws Exception {
    engine.answer =
        request -> {
          throw new EngineUnavailableException("CUDA error at 0xdeadbeef");
        };
    HttpResponse<String> response = complete(WHOLE);
    assertThat(response.statusCode()).isEqualTo(503);
    assertThat(response.headers().firstValue("Retry-After")).hasValue("5");
    assertThat(response.body()).doesNotContain("CUDA");
    assertThat(error(response).get("code").asString()).isEqualTo("engine_unavailable");
  }

  @Test
  void anythingUnexpectedIs500WithoutItsText() throws Exception {
    engine.answer = request -> Flux.error(new IllegalStateException("secret"));
    HttpResponse<String> response = complete(WHOLE);
    assertThat(response.statusCode()).isEqualTo(500);
    String id = response.headers().firstValue("X-Request-Id").orElseThrow();
    assertThat(error(response).get("message").asString())
        .isEqualTo("The server failed on this request. Request id: " + id);
  }
}
