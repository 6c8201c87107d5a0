package dev.gregale.web;

import static org.assertj.core.api.Assertions.assertThat;

import dev.gregale.engine.EngineOverloadedException;
import java.time.Duration;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.TimeUnit;
import org.junit.jupiter.api.Test;
import org.springframework.util.unit.DataSize;
import reactor.core.Disposable;
import reactor.test.StepVerifier;

class RequestWorkersTest {
  private static final Duration SECONDS = Duration.ofSeconds(5);

  @Test
  void aFullQueueIsAnOverload() throws Exception {
    Duration any = Duration.ofSeconds(1);
    ApiProperties one = new ApiProperties(DataSize.ofBytes(1), 1, 1, 1, any, any, any, any);
    CountDownLatch running = new CountDownLatch(1);
    CountDownLatch release = new CountDownLatch(1);
    try (RequestWorkers workers = new RequestWorkers(one)) {
      Disposable first =
          workers
              .call(
                  () -> {
                    running.countDown();
                    return release.await(5, TimeUnit.SECONDS);
                  })
              .subscribe();
      assertThat(running.await(5, TimeUnit.SECONDS)).isTrue();
      Disposable waiting = workers.call(() -> 2).subscribe();
      StepVerifier.create(workers.call(() -> 3))
          .expectError(EngineOverloadedException.class)
          .verify(SECONDS);
      release.countDown();
      while (!first.isDisposed() || !waiting.isDisposed()) {
        Thread.onSpinWait();
      }
      StepVerifier.create(workers.call(() -> 4)).expectNext(4).expectComplete().verify(SECONDS);
    }
  }
}
