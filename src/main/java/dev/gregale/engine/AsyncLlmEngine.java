package dev.gregale.engine;

import dev.gregale.backend.BackendException;
import dev.gregale.engine.EngineMetrics.Cancellation;
import dev.gregale.engine.EngineMetrics.Rejection;
import dev.gregale.model.StepRunner;
import dev.gregale.sampling.BeamSearchParams;
import dev.gregale.sampling.FinishReason;
import io.micrometer.core.instrument.MeterRegistry;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.CompletionStage;
import java.util.function.Supplier;
import java.util.stream.Stream;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;
import reactor.core.publisher.Flux;
import reactor.core.scheduler.Schedulers;

/**
 * The engine: one or more replicas of the model ({@link Replica}) behind one door ({@link
 * Admission}) and one queue ({@link ReplicaQueue}). Callers only enqueue and subscribe.
 */
public final class AsyncLlmEngine implements LlmEngine, AutoCloseable {
  private static final Logger log = LoggerFactory.getLogger(AsyncLlmEngine.class);

  /** Events taken from a request's buffer at a time. */
  private static final int PREFETCH = 16;

  /** How long a step under way at the drain deadline may still take. */
  private static final Duration GRACE = Duration.ofSeconds(10);

  private final ServedModel model;
  private final EngineLimits limits;
  private final EngineInfo info;
  private final RequestChecks checks;
  private final Admission admission;
  private final EngineMetrics metrics;
  private final BeamSearch beamSearch;
  private final ReplicaQueue queue;
  private final List<Replica> replicas = new ArrayList<>();
  private final CompletableFuture<Throwable> failure = new CompletableFuture<>();

  /**
   * An engine that takes nothing until {@link #start}.
   *
   * @param limits of each replica, but for the queue, which is one
   * @param runners of the replicas, one each
   */
  public AsyncLlmEngine(
      ServedModel model,
      EngineLimits limits,
      List<? extends StepRunner> runners,
      TextStreamFactory textStreams,
      MeterRegistry registry) {
    this.model = model;
    this.limits = limits;
    info =
        new EngineInfo(
            model.name(),
            model.createdEpochSeconds(),
            model.vocabSize(),
            limits.maxModelLen(),
            limits.maxSequencesPerRequest(),
            limits.maxTokensPerRequest(),
            limits.schedulingPolicy(),
            model.routing());
    checks = new RequestChecks(info);
    admission = new Admission(limits, runners.size());
    metrics = new EngineMetrics(registry, limits, model.routing(), runners.size());
    beamSearch =
        new BeamSearch(this::round, model.eosTokenIds(), limits.maxModelLen(), textStreams);
    List<LoopCommands> inboxes = Stream.generate(LoopCommands::new).limit(runners.size()).toList();
    queue = new ReplicaQueue(inboxes, limits);
    metrics.watch(queue);
    Replica.Surroundings shared =
        new Replica.Surroundings(model, limits, admission, queue, textStreams, metrics);
    for (int i = 0; i < runners.size(); i++) {
      replicas.add(new Replica(i, inboxes.get(i), runners.get(i), shared, this::failed));
    }
  }

  /** The device's own error, where there is one, is why: other replicas fail because of it. */
  private void failed(Throwable cause) {
    Throwable first = cause;
    while (first.getCause() != null && !(first instanceof BackendException)) {
      first = first.getCause();
    }
    failure.complete(first instanceof BackendException ? first : cause);
  }

  /** Starts serving. */
  public void start() {
    replicas.forEach(Replica::start);
    admission.advanceTo(EngineState.SERVING);
  }

  public EngineState state() {
    return admission.state();
  }

  /** Completes with the cause if the engine fails, once every request has been told. */
  public CompletionStage<Throwable> failure() {
    return failure.minimalCompletionStage();
  }

  @Override
  public EngineInfo info() {
    return info;
  }

  @Override
  public Flux<GenerationEvent> generate(GenerationRequest request) {
    BeamSearchParams beams = request.params().beamSearch();
    return beams == null
        ? Flux.defer(() -> events(admit(request)))
        : Flux.using(
            () -> hold(request, beams), held -> beamSearch.generate(request, beams), this::release);
  }

  /** A round of a beam search, which has been let in as a whole. */
  private Flux<GenerationEvent> round(GenerationRequest request) {
    return Flux.defer(
        () -> {
          ActiveRequest active = new ActiveRequest(request, model, limits);
          admission.reenter(active, () -> queue.submit(active));
          return events(active);
        });
  }

  private Flux<GenerationEvent> events(ActiveRequest active) {
    // Readers work on other threads, lest one that takes long hold up everybody's output.
    return active
        .events()
        .doOnCancel(() -> cancel(active))
        .publishOn(Schedulers.parallel(), PREFETCH);
  }

  /** Lets a beam search in; returns how many sequences its rounds have. */
  private int hold(GenerationRequest request, BeamSearchParams beams) {
    return counted(
        () -> {
          checks.check(request);
          int sequences = request.prompts().size() * beams.width();
          admission.hold(sequences);
          metrics.admitted(request);
          return sequences;
        });
  }

  private void release(int sequences) {
    admission.release(sequences);
    queue.wake(); // a drain may have waited for it
  }

  @Override
  public void requireRoom() {
    counted(
        () -> {
          admission.requireRoom(1);
          return true;
        });
  }

  private ActiveRequest admit(GenerationRequest request) {
    return counted(
        () -> {
          checks.check(request);
          ActiveRequest active = new ActiveRequest(request, model, limits);
          admission.enter(active, () -> queue.submit(active));
          metrics.admitted(request);
          return active;
        });
  }

  /** Counts the refusal if that is what comes of it. */
  private <T> T counted(Supplier<T> entrance) {
    try {
      return entrance.get();
    } catch (IllegalArgumentException e) {
      metrics.rejected(Rejection.INVALID);
      throw e;
    } catch (EngineOverloadedException e) {
      metrics.rejected(Rejection.OVERLOADED);
      throw e;
    } catch (EngineUnavailableException e) {
      metrics.rejected(Rejection.UNAVAILABLE);
      throw e;
    }
  }

  private void cancel(ActiveRequest request) {
    boolean withdrawn = queue.withdraw(request);
    if (withdrawn) {
      admission.withdrawn(request.sequences().size());
    }
    boolean cancelled = false;
    for (ActiveSequence sequence : request.sequences()) {
      if (sequence.end()) {
        cancelled = true;
        metrics.finished(FinishReason.ABORT);
        if (!withdrawn) {
          queue.abort(sequence);
        }
      }
    }
    if (cancelled) {
      metrics.cancelled(Cancellation.CLIENT);
      RequestEvent.commit(request, "cancelled");
    }
  }

  /** {@link #close(Duration)} with the configured time. */
  @Override
  public void close() {
    close(limits.drainTimeout());
  }

  /**
   * Takes nothing new, lets the admitted requests finish within the time given, aborts the rest
   * ({@link FinishReason#ABORT}), and returns once both threads have ended.
   */
  public void close(Duration timeout) {
    admission.advanceTo(EngineState.DRAINING);
    replicas.forEach(replica -> replica.drain(timeout));
    try {
      for (Replica replica : replicas) {
        if (replica.hasStarted() && !replica.join(timeout, GRACE)) {
          log.error("the engine's threads did not end in time; a step seems to hang");
          admission.advanceTo(EngineState.FAILED);
        }
      }
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
      log.warn("interrupted while waiting for the engine to end");
    }
  }
}
