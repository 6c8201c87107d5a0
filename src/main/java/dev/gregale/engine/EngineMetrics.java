package dev.gregale.engine;

import dev.gregale.model.StepOutput;
import dev.gregale.sampling.FinishReason;
import dev.gregale.scheduler.Scheduler;
import io.micrometer.core.instrument.Counter;
import io.micrometer.core.instrument.DistributionSummary;
import io.micrometer.core.instrument.Gauge;
import io.micrometer.core.instrument.MeterRegistry;
import io.micrometer.core.instrument.Timer;
import java.time.Duration;
import java.util.List;
import java.util.Locale;
import java.util.concurrent.TimeUnit;
import java.util.function.ToDoubleFunction;
import java.util.function.ToIntFunction;
import java.util.stream.Stream;

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

  /** Upper bounds of the histograms; those that vLLM has are among them, for its dashboards. */
  private static final double[] SECONDS = {
    .001, .0025, .005, .01, .02, .025, .04, .05, .06, .075, .08, .1, .15, .2, .25, .3, .4, .5, .75,
    .8, 1, 1.5, 2, 2.5, 5, 7.5, 10, 15, 20, 30, 40, 50, 60, 80, 120, 160, 240, 480, 640, 960, 1920
  };

  private static final double[] COUNTS = {
    1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 10_000, 20_000, 50_000, 100_000
  };

  private final MeterRegistry registry;
  private final ExpertUsage experts;
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
  private final Timer endToEnd;
  private final Timer prefill;
  private final Timer decode;
  private final Timer inference;
  private final Timer timePerOutputToken;
  private final DistributionSummary promptLength;
  private final DistributionSummary outputLength;
  private final DistributionSummary sequencesAsked;
  private final DistributionSummary maxTokensAsked;
  private final DistributionSummary stepTokens;
  private final List<SchedulerFigures> schedulers;

  /**
   * @param limits of each replica
   */
  EngineMetrics(
      MeterRegistry registry, EngineLimits limits, RoutingShape routing, int numReplicas) {
    this.registry = registry;
    experts = new ExpertUsage(routing, registry);
    schedulers =
        Stream.generate(() -> new SchedulerFigures(limits.numBlocks())).limit(numReplicas).toList();
    int totalBlocks = numReplicas * limits.numBlocks();
    gauge("gregale.requests.running", "Sequences being computed", sum(SchedulerFigures::running));
    gauge("gregale.kv.blocks.free", "KV blocks that no sequence owns", freeBlocks());
    gauge("gregale.kv.blocks.total", "KV blocks there are", m -> totalBlocks);
    gauge(
        "gregale.kv.usage",
        "Share of the KV blocks that sequences own",
        m -> 1 - freeBlocks().applyAsDouble(m) / totalBlocks);
    gauge("gregale.kv.block.size", "Tokens of one KV block", m -> limits.blockSize());
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
    endToEnd = timer("gregale.request.e2e", "From arrival to the end of a sequence");
    prefill = timer("gregale.request.prefill", "From the first step to a sequence's first token");
    decode = timer("gregale.request.decode", "From a sequence's first token to its end");
    inference = timer("gregale.request.inference", "From the first step to a sequence's end");
    timePerOutputToken = timer("gregale.request.tpot", "A sequence's mean time between tokens");
    promptLength = summary("gregale.request.prompt.tokens", "Prompt tokens of a sequence");
    outputLength = summary("gregale.request.generation.tokens", "Tokens drawn for a sequence");
    sequencesAsked = summary("gregale.request.sequences", "Sequences of a request");
    maxTokensAsked = summary("gregale.request.max.tokens", "max_tokens of a request");
    stepTokens = summary("gregale.engine.step.tokens", "Tokens computed in a step");
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

  /** The queue in front of the replicas, whose sequences wait like those of the schedulers. */
  void watch(ReplicaQueue queue) {
    gauge(
        "gregale.requests.waiting",
        "Sequences waiting for a place or for blocks",
        m -> sum(SchedulerFigures::waiting).applyAsDouble(m) + queue.waitingSequences());
  }

  private static ToDoubleFunction<EngineMetrics> freeBlocks() {
    return sum(SchedulerFigures::freeBlocks);
  }

  private static ToDoubleFunction<EngineMetrics> sum(ToIntFunction<SchedulerFigures> figure) {
    return metrics -> metrics.schedulers.stream().mapToInt(figure).sum();
  }

  private void gauge(String name, String description, ToDoubleFunction<EngineMetrics> value) {
    Gauge.builder(name, this, value).description(description).register(registry);
  }

  private Counter counter(String name, String description) {
    return Counter.builder(name).description(description).register(registry);
  }

  private Timer timer(String name, String description) {
    Duration[] buckets = new Duration[SECONDS.length];
    for (int i = 0; i < buckets.length; i++) {
      buckets[i] = Duration.ofNanos(Math.round(SECONDS[i] * 1e9));
    }
    return Timer.builder(name)
        .description(description)
        .serviceLevelObjectives(buckets)
        .register(registry);
  }

  private DistributionSummary summary(String name, String description) {
    return DistributionSummary.builder(name)
        .description(description)
        .serviceLevelObjectives(COUNTS)
        .register(registry);
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

  /** A request was let in. */
  void admitted(GenerationRequest request) {
    sequencesAsked.record(request.numSequences());
    maxTokensAsked.record(request.params().maxTokens());
  }

  /**
   * A step that computed that many tokens and drew some.
   *
   * @param tokens of prompts and outputs
   */
  void step(long nanos, int tokens, int drawnTokens) {
    stepTokens.record(tokens);
    stepTime.record(nanos, TimeUnit.NANOSECONDS);
    generationTokens.increment(drawnTokens);
  }

  /** A step's tokens went to experts. */
  void routed(StepOutput output, int numTokens) {
    experts.count(output, numTokens);
  }

  void firstToken(long nanosSinceArrival) {
    timeToFirstToken.record(nanosSinceArrival, TimeUnit.NANOSECONDS);
  }

  void nextToken(long nanosSinceLast) {
    interTokenLatency.record(nanosSinceLast, TimeUnit.NANOSECONDS);
  }

  /** A sequence ended by itself at that time. */
  void ended(ActiveSequence sequence, long now) {
    ActiveRequest request = sequence.request();
    promptLength.record(sequence.numPromptTokens());
    outputLength.record(sequence.completionTokens());
    endToEnd.record(now - request.arrivalNanos(), TimeUnit.NANOSECONDS);
    if (request.started()) {
      inference.record(now - request.startedNanos(), TimeUnit.NANOSECONDS);
    }
    if (sequence.completionTokens() > 0) {
      long first = sequence.firstTokenNanos();
      prefill.record(first - request.startedNanos(), TimeUnit.NANOSECONDS);
      decode.record(now - first, TimeUnit.NANOSECONDS);
      if (sequence.completionTokens() > 1) {
        long mean = (sequence.lastTokenNanos() - first) / (sequence.completionTokens() - 1);
        timePerOutputToken.record(mean, TimeUnit.NANOSECONDS);
      }
    }
  }

  /** Publishes the figures of a replica's scheduler; called by its thread. */
  void observe(Scheduler scheduler, int replica) {
    SchedulerFigures figures = schedulers.get(replica);
    preemptions.increment(figures.newPreemptions(scheduler));
    prefixQueries.increment(figures.newQueries(scheduler));
    prefixHits.increment(figures.newHits(scheduler));
    figures.observe(scheduler);
  }
}
