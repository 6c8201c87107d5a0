package dev.gregale.web;

import static org.assertj.core.api.Assertions.assertThat;

import dev.gregale.engine.GenerationEvent;
import dev.gregale.engine.GenerationEvent.Tokens;
import java.net.http.HttpResponse;
import java.time.Duration;
import java.util.List;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.TimeUnit;
import org.junit.jupiter.api.Test;
import org.springframework.test.context.TestPropertySource;
import reactor.core.publisher.Flux;

/** A request that takes too long ends, in whichever way its answer has begun. */
@TestPropertySource(properties = "gregale.api.generation-timeout=300ms")
class GenerationTimeoutTest extends WebTest {
  private static final GenerationEvent WORD = new Tokens(0, " time", List.of());

  @Test
  void aWholeAnswerIs504() throws Exception {
    CountDownLatch cancelled = new CountDownLatch(1);
    engine.answer = request -> Flux.<GenerationEvent>never().doOnCancel(cancelled::countDown);
    HttpResponse<String> answer = complete("{\"model\":\"stub\",\"prompt\":\"Once\"}");
    assertThat(answer.statusCode()).isEqualTo(504);
    assertThat(error(answer).get("code").asString()).isEqualTo("generation_timeout");
    assertThat(answer.headers().firstValue("x-should-retry")).hasValue("false");
    assertThat(cancelled.await(1, TimeUnit.SECONDS)).isTrue();
  }

  @Test
  void aStreamEndsWithAnErrorAndDone() throws Exception {
    CountDownLatch cancelled = new CountDownLatch(1);
    engine.answer =
        request ->
            Flux.interval(Duration.ofMillis(10)).map(i -> WORD).doOnCancel(cancelled::countDown);
    String stream = complete("{\"model\":\"stub\",\"prompt\":\"Once\",\"stream\":true}").body();
    assertThat(stream).startsWith("data: {\"id\"").endsWith("data: [DONE]\n\n");
    assertThat(stream).contains("\"code\":\"generation_timeout\"");
    assertThat(cancelled.await(1, TimeUnit.SECONDS)).isTrue();
  }

  @Test
  void aQuickAnswerIsNotHeldUp() throws Exception {
    assertThat(complete("{\"model\":\"stub\",\"prompt\":\"Once\"}").statusCode()).isEqualTo(200);
  }
}
