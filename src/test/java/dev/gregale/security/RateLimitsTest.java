package dev.gregale.security;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.catchThrowableOfType;

import io.github.bucket4j.TimeMeter;
import java.time.Duration;
import java.util.concurrent.atomic.AtomicLong;
import org.junit.jupiter.api.Test;

class RateLimitsTest {
  private final AtomicLong now = new AtomicLong();
  private final RateLimits limits =
      new RateLimits(
          new TimeMeter() {
            @Override
            public long currentTimeNanos() {
              return now.get();
            }

            @Override
            public boolean isWallClockBased() {
              return false;
            }
          });

  private RateLimitException refusal(Caller caller) {
    return catchThrowableOfType(RateLimitException.class, () -> limits.enter(caller));
  }

  @Test
  void requestsPerMinuteRefillSteadily() {
    Caller caller = new Caller("a", Role.INFERENCE, 6, 0);
    for (int i = 5; i >= 0; i--) {
      assertThat(limits.enter(caller).remaining()).isEqualTo(i);
    }
    RateLimitException refusal = refusal(caller);
    assertThat(refusal.code()).isEqualTo("rate_limit_exceeded");
    assertThat(refusal.retryAfterSeconds()).isEqualTo(10);
    now.addAndGet(Duration.ofMillis(9_500).toNanos());
    assertThat(refusal(caller).retryAfterSeconds()).isEqualTo(1);
    now.addAndGet(Duration.ofMillis(500).toNanos());
    assertThat(limits.enter(caller).remaining()).isZero();
    assertThat(refusal(caller)).isNotNull();
    assertThat(limits.enter(new Caller("b", Role.INFERENCE, 6, 0)).remaining()).isEqualTo(5);
  }

  @Test
  void whatIsRefusedDoesNotCountAsRunning() {
    Caller caller = new Caller("a", Role.INFERENCE, 0, 2);
    RateLimits.Admission first = limits.enter(caller);
    limits.enter(caller);
    for (int i = 0; i < 5; i++) {
      assertThat(refusal(caller).code()).isEqualTo("concurrency_limit_exceeded");
    }
    first.close();
    limits.enter(caller);
    assertThat(refusal(caller)).isNotNull();
  }

  @Test
  void withoutLimitsEverythingIsLetIn() {
    Caller caller = new Caller("a", Role.INFERENCE, 0, 0);
    for (int i = 0; i < 10_000; i++) {
      limits.enter(caller);
    }
  }
}
