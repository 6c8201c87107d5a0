package dev.gregale.engine;

import dev.gregale.sampling.SamplingParams;
import dev.gregale.scheduler.Sequence;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.ThreadLocalRandom;
import reactor.core.publisher.Flux;
import reactor.core.publisher.Sinks;
import reactor.util.concurrent.Queues;

/** A request inside the engine: its sequences, and where its events go. */
final class ActiveRequest {
  private final GenerationRequest request;
  private final ServedModel model;
  private final long arrivalNanos = System.nanoTime();
  private final RequestEvent event = new RequestEvent();
  private final List<ActiveSequence> sequences;
  private final Sinks.Many<GenerationEvent> sink;
  private volatile int replica;

  // The loop's thread only.
  private int liveSequences;
  private long startedNanos;
  private boolean started;

  // The output thread only.
  private int openSequences;

  ActiveRequest(GenerationRequest request, ServedModel model, EngineLimits limits) {
    this.request = request;
    this.model = model;
    sink =
        Sinks.many()
            .unicast()
            .onBackpressureBuffer(Queues.<GenerationEvent>get(limits.maxBufferedEvents()).get());
    List<ActiveSequence> all = new ArrayList<>(request.numSequences());
    Long seed = request.params().seed();
    for (int[] prompt : request.prompts()) {
      for (int i = 0; i < request.n(); i++) {
        long drawSeed = seed == null ? ThreadLocalRandom.current().nextLong() : seed + i;
        Sequence sequence =
            new Sequence(
                prompt,
                request.params(),
                drawSeed,
                model.eosTokenIds(),
                limits.maxModelLen(),
                request.cacheSalt());
        all.add(new ActiveSequence(this, all.size(), prompt, sequence));
      }
    }
    sequences = List.copyOf(all);
    liveSequences = all.size();
    openSequences = all.size();
    event.begin();
  }

  String id() {
    return request.requestId();
  }

  RequestEvent event() {
    return event;
  }

  RoutingShape routing() {
    return model.routing();
  }

  int priority() {
    return request.priority();
  }

  SamplingParams params() {
    return request.params();
  }

  List<ActiveSequence> sequences() {
    return sequences;
  }

  long arrivalNanos() {
    return arrivalNanos;
  }

  /** Which replica has it now. */
  void assign(int index) {
    replica = index;
  }

  int replica() {
    return replica;
  }

  // ---- towards the reader; the output thread emits

  Flux<GenerationEvent> events() {
    return sink.asFlux();
  }

  /** False if the reader has fallen too far behind; a reader that is gone does not matter. */
  boolean emit(GenerationEvent event) {
    return sink.tryEmitNext(event) != Sinks.EmitResult.FAIL_OVERFLOW;
  }

  /** The last event of one of the sequences is out; true if it was the last sequence. */
  boolean sequenceClosed() {
    if (--openSequences > 0) {
      return false;
    }
    sink.tryEmitComplete();
    return true;
  }

  void fail(RuntimeException error) {
    sink.tryEmitError(error);
  }

  // ---- in the scheduler; the loop counts

  /** Marks that it runs; true the first time. */
  boolean start(long now) {
    if (started) {
      return false;
    }
    started = true;
    startedNanos = now;
    return true;
  }

  boolean started() {
    return started;
  }

  long startedNanos() {
    return startedNanos;
  }

  /** A sequence has left the scheduler; true if it was the last. */
  boolean sequenceLeft() {
    return --liveSequences == 0;
  }
}
