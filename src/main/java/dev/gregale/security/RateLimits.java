package dev.gregale.security;

import com.github.benmanes.caffeine.cache.Cache;
import com.github.benmanes.caffeine.cache.Caffeine;
import io.github.bucket4j.Bucket;
import io.github.bucket4j.ConsumptionProbe;
import io.github.bucket4j.TimeMeter;
import java.time.Duration;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicInteger;
import org.jspecify.annotations.Nullable;

/**
 * Counts what each caller does: a token bucket for requests per minute, a counter for requests at
 * the same time. Callers that were not seen for a while are forgotten, and so is the one longest
 * unseen when there are too many. Safe for use by several threads.
 */
public final class RateLimits {
  private static final int MAX_CALLERS = 10_000;
  private static final Duration PERIOD = Duration.ofMinutes(1);
  private static final Duration FORGET_AFTER = Duration.ofMinutes(10);

  private final TimeMeter time;
  private final Cache<String, Allowance> allowances =
      Caffeine.newBuilder().maximumSize(MAX_CALLERS).expireAfterAccess(FORGET_AFTER).build();

  public RateLimits() {
    this(TimeMeter.SYSTEM_MILLISECONDS);
  }

  RateLimits(TimeMeter time) {
    this.time = time;
  }

  /**
   * Lets a request in.
   *
   * @throws RateLimitException if the caller is over one of its limits
   */
  public Admission enter(Caller caller) {
    return allowances.get(caller.getName(), key -> new Allowance(caller, time)).enter();
  }

  /**
   * A request that was let in, until it is closed.
   *
   * @param limit requests per minute; 0 for no limit
   * @param remaining of them, at once
   */
  public record Admission(int limit, long remaining, Runnable leave) implements AutoCloseable {
    @Override
    public void close() {
      leave.run();
    }
  }

  /** What one caller still may do. */
  private static final class Allowance {
    private final Caller caller;
    private final @Nullable Bucket bucket;
    private final AtomicInteger active = new AtomicInteger();

    Allowance(Caller caller, TimeMeter time) {
      this.caller = caller;
      int perMinute = caller.requestsPerMinute();
      bucket =
          perMinute == 0
              ? null
              : Bucket.builder()
                  .withCustomTimePrecision(time)
                  .addLimit(limit -> limit.capacity(perMinute).refillGreedy(perMinute, PERIOD))
                  .build();
    }

    Admission enter() {
      int max = caller.maxConcurrentRequests();
      if (active.incrementAndGet() > max && max != 0) {
        active.decrementAndGet();
        throw new RateLimitException(
            "concurrency_limit_exceeded",
            "%d requests of this key are running, which is its limit".formatted(max),
            1);
      }
      try {
        return new Admission(caller.requestsPerMinute(), takeToken(), active::decrementAndGet);
      } catch (RateLimitException e) {
        active.decrementAndGet();
        throw e;
      }
    }

    private long takeToken() {
      if (bucket == null) {
        return 0;
      }
      ConsumptionProbe probe = bucket.tryConsumeAndReturnRemaining(1);
      if (!probe.isConsumed()) {
        long millis = TimeUnit.NANOSECONDS.toMillis(probe.getNanosToWaitForRefill());
        throw new RateLimitException(
            "rate_limit_exceeded",
            "This key may send %d requests per minute".formatted(caller.requestsPerMinute()),
            (int) Math.max(1, Math.ceilDiv(millis, 1000)));
      }
      return probe.getRemainingTokens();
    }
  }
}
