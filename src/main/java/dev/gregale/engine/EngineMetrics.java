package dev.gregale.engine;

import dev.gregale.sampling.FinishReason;
import dev.gregale.scheduler.Scheduler;
import io.micrometer.core.instrument.Counter;
import io.micrometer.core.instrument.Gauge;
import io.micrometer.core.instrument.MeterRegistry;
import io.micrometer.core.instrument.Timer;
import java.util.Locale;
import java.util.concurrent.TimeUnit;
import java.util.function.ToDoubleFunction;

/**
 * What the engine counts. Where a meter speaks of sequences, each of a request's n answers counts.
 */
final class EngineMetrics {

  /** Why a request was not let in. */
  enum Rejection {
    OVERLOADED,
    UNAVAILABLE,
    INVALID
  }

  /** Why a request was aborted on its reader's account. */
  enum Cancellation {
    CLIENT,
    SLOW_READER
  }

  private final MeterRegistry registry;
  private final Counter promptTokens;
  private final Counter generationTokens;
  private final Counter preemptions;
  private final Counter prefixQueries;
  private final Counter prefixHits;
  private final Counter stepFailures;
  private final Timer stepTime;
  private final Timer timeToFirstToken;
  private final Timer interTokenLatency;
  private final Timer queueTime;
  private volatile int running;
  private volatile int waiting;
  private volatile int freeBlocks;
  private long preemptionsSeen;
  private long prefixQueriesSeen;
  private long prefixHitsSeen;

  EngineMetrics(MeterRegistry registry, EngineLimits limits) {
    this.registry = registry;
    freeBlocks = limits.numBlocks();
    gauge("gregale.requests.running", "Sequences being computed", m -> m.running);
    gauge(
        "gregale.requests.waiting", "Sequences waiting for a place or for blocks", m -> m.waiting);
    gauge("gregale.kv.blocks.free", "KV blocks that no sequence owns", m -> m.freeBlocks);
    gauge("gregale.kv.blocks.total", "KV blocks there are", m -> limits.numBlocks());
    promptTokens = counter("gregale.tokens.prompt", "Prompt tokens of the sequences let in");
    generationTokens = counter("gregale.tokens.generation", "Tokens drawn");
    preemptions = counter("gregale.preemptions", "Times a sequence lost its KV blocks");
    prefixQueries =
        counter("gregale.prefix.queries", "Tokens that the prefix cache was searched for");
    prefixHits = counter("gregale.prefix.hits", "Tokens found in the prefix cache");
    stepFailures = counter("gregale.engine.step.failures", "Steps that threw");
    stepTime = timer("gregale.engine.step", "Time of a step, from scheduling to hand-over");
    timeToFirstToken = timer("gregale.request.ttft", "From arrival to a sequence's first token");
    interTokenLatency = timer("gregale.request.itl", "Between a sequence's tokens");
    queueTime = timer("gregale.request.queue", "From arrival to the first step");
    for (Rejection reason : Rejection.values()) {
      rejections(reason);
    }
    for (Cancellation cause : Cancellation.values()) {
      cancellations(cause);
    }
    for (FinishReason reason : FinishReason.values()) {
      ends(reason.name());
    }
    ends("error");
  }

  private void gauge(String name, String description, ToDoubleFunction<EngineMetrics> value) {
    Gauge.builder(name, this, value).description(description).register(registry);
  }

  private Counter counter(String name, String description) {
    return Counter.builder(name).description(description).register(registry);
  }

  private Timer timer(String name, String description) {
    return Timer.builder(name).description(description).register(registry);
  }

  private Counter counter(String name, String description, String tag, String value) {
    return Counter.builder(name)
        .description(description)
        .tag(tag, value.toLowerCase(Locale.ROOT))
        .register(registry);
  }

  private Counter rejections(Rejection reason) {
    return counter("gregale.requests.rejected", "Requests refused", "reason", reason.name());
  }

  private Counter cancellations(Cancellation cause) {
    return counter(
        "gregale.requests.cancelled", "Requests aborted for their reader", "cause", cause.name());
  }

  private Counter ends(String reason) {
    return counter("gregale.requests.finished", "Sequences that ended", "reason", reason);
  }

  void rejected(Rejection reason) {
    rejections(reason).increment();
  }

  void cancelled(Cancellation cause) {
    cancellations(cause).increment();
  }

  void finished(FinishReason reason) {
    ends(reason.name()).increment();
  }

  void failed() {
    ends("error").increment();
  }

  void stepFailed() {
    stepFailures.increment();
  }

  /** A request's first step, after that long in the queue. */
  void started(long queuedNanos) {
    queueTime.record(queuedNanos, TimeUnit.NANOSECONDS);
  }

  void promptTokens(int count) {
    promptTokens.increment(count);
  }

  void step(long nanos, int drawnTokens) {
    stepTime.record(nanos, TimeUnit.NANOSECONDS);
    generationTokens.increment(drawnTokens);
  }

  void firstToken(long nanosSinceArrival) {
    timeToFirstToken.record(nanosSinceArrival, TimeUnit.NANOSECONDS);
  }

  void nextToken(long nanosSinceLast) {
    interTokenLatency.record(nanosSinceLast, TimeUnit.NANOSECONDS);
  }

  /** Publishes the scheduler's figures; called by its thread. */
  void observe(Scheduler scheduler) {
    running = scheduler.numRunning();
    waiting = scheduler.numWaiting();
    freeBlocks = scheduler.numFreeBlocks();
    preemptions.increment(scheduler.numPreemptions() - preemptionsSeen);
    preemptionsSeen = scheduler.numPreemptions();
    prefixQueries.increment(scheduler.numQueriedTokens() - prefixQueriesSeen);
    prefixQueriesSeen = scheduler.numQueriedTokens();
    prefixHits.increment(scheduler.numHitTokens() - prefixHitsSeen);
    prefixHitsSeen = scheduler.numHitTokens();
  }
}
