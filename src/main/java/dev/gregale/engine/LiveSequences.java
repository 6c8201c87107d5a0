package dev.gregale.engine;

import dev.gregale.model.StepOutput;
import dev.gregale.sampling.FinishReason;
import dev.gregale.scheduler.ScheduledBatch;
import dev.gregale.scheduler.Scheduler;
import dev.gregale.scheduler.Sequence;
import java.util.ArrayList;
import java.util.Collection;
import java.util.HashMap;
import java.util.List;
import java.util.Map;

/**
 * The sequences that the scheduler has, from admission to their end, and whose they are. For the
 * loop's thread.
 */
final class LiveSequences {
  private final Map<Sequence, ActiveSequence> live = new HashMap<>();
  private final Scheduler scheduler;
  private final int replica;
  private final ReplicaQueue queue;
  private final Admission admission;
  private final EngineMetrics metrics;

  LiveSequences(Scheduler scheduler, int replica, Replica.Surroundings shared) {
    this.scheduler = scheduler;
    this.replica = replica;
    queue = shared.queue();
    admission = shared.admission();
    metrics = shared.metrics();
  }

  void admit(ActiveRequest request) {
    for (ActiveSequence sequence : request.sequences()) {
      live.put(sequence.sequence(), sequence);
      scheduler.add(sequence.sequence(), request.priority());
      metrics.promptTokens(sequence.numPromptTokens());
    }
  }

  /** Notes whose first step this is. */
  void start(ScheduledBatch batch, long now) {
    for (int s = 0; s < batch.numSeqs(); s++) {
      ActiveSequence sequence = live.get(batch.sequences.get(s));
      if (sequence != null && sequence.request().start(now)) {
        admission.leftQueue();
        metrics.started(now - sequence.request().arrivalNanos());
      }
    }
  }

  /** Copies a step's results into the report; returns how many tokens were drawn. */
  int publish(ScheduledBatch batch, StepOutput output, StepReport report) {
    int drawn = 0;
    for (int r = 0; r < batch.numLogitRows; r++) {
      ActiveSequence sequence = live.get(batch.sequences.get(batch.logitSequence[r]));
      if (sequence != null) {
        report.addRow(batch, output, r, sequence);
        drawn += batch.draws(r) ? 1 : 0;
      }
    }
    for (int s = 0; s < batch.numSeqs(); s++) {
      ActiveSequence sequence = live.get(batch.sequences.get(s));
      FinishReason reason = batch.sequences.get(s).finishReason();
      if (sequence != null && sequence.params().returnRoutedExperts()) {
        report.addRouting(batch, output, s, sequence);
      }
      if (sequence != null && reason != null) {
        leave(sequence);
        if (sequence.sequence().numOutputTokens() == 0) { // else its last row tells
          report.ends.add(StepReport.End.of(sequence, reason));
        }
      }
    }
    return drawn;
  }

  /** Nothing if it has ended. */
  void abort(ActiveSequence sequence) {
    if (live.containsKey(sequence.sequence())) {
      scheduler.abort(sequence.sequence());
      leave(sequence);
    }
  }

  void abortAll(StepReport report) {
    for (ActiveSequence sequence : List.copyOf(live.values())) {
      abort(sequence);
      report.ends.add(StepReport.End.of(sequence, FinishReason.ABORT));
    }
  }

  /** Ends the whole request that a sequence is of with an error; nothing if it has ended. */
  void failRequestOf(Sequence sequence, StepReport report) {
    ActiveSequence found = live.get(sequence);
    if (found == null) {
      return;
    }
    found.request().sequences().forEach(this::abort);
    report.failures.add(
        new StepReport.Failure(
            found.request(),
            new EngineUnavailableException("The engine failed to compute this request.")));
  }

  /**
   * Tells everyone that the engine has failed, and leaves the scheduler as it is.
   *
   * @param arrivals requests that were not admitted yet
   */
  void failAll(Collection<ActiveRequest> arrivals, StepReport report) {
    List<ActiveRequest> requests = new ArrayList<>();
    live.values().forEach(sequence -> requests.add(sequence.request()));
    requests.addAll(arrivals);
    live.clear();
    for (ActiveRequest request : requests) {
      report.failures.add(
          new StepReport.Failure(
              request, new EngineUnavailableException("The engine has failed.")));
    }
  }

  /** A sequence is done with; its blocks are free. */
  private void leave(ActiveSequence sequence) {
    live.remove(sequence.sequence());
    queue.left(replica);
    admission.sequenceEnded();
    ActiveRequest request = sequence.request();
    if (request.sequenceLeft()) {
      if (request.started()) {
        admission.endedAfter((System.nanoTime() - request.startedNanos()) / 1e9);
      } else {
        admission.endedInQueue();
      }
    }
  }
}
