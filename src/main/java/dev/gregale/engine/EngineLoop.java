package dev.gregale.engine;

import dev.gregale.backend.BackendException;
import dev.gregale.model.StepOutput;
import dev.gregale.model.StepRunner;
import dev.gregale.scheduler.ScheduledBatch;
import dev.gregale.scheduler.Scheduler;
import dev.gregale.scheduler.SchedulerConfig;
import dev.gregale.scheduler.Sequence;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import org.jspecify.annotations.Nullable;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * The one thread that runs the model: takes commands, steps while there is work, else sleeps. Where
 * the model takes a step ahead ({@link StepPipeline}), it hands out one step while the next runs.
 */
final class EngineLoop implements Runnable {
  private static final Logger log = LoggerFactory.getLogger(EngineLoop.class);

  private final int replica;
  private final Scheduler scheduler;
  private final StepPipeline pipeline;
  private final int vocabSize;
  private final LoopCommands commands;
  private final StepReports reports;
  private final Admission admission;
  private final ReplicaQueue queue;
  private final EngineMetrics metrics;
  private final StepTimes times;
  private final LiveSequences live;
  private volatile boolean draining;
  private volatile long drainDeadlineNanos;
  private volatile @Nullable Throwable failure;

  /** A step has failed: no other is scheduled before a probe has run. */
  private boolean suspect;

  /**
   * @param replica which of the replicas this runs
   */
  EngineLoop(
      int replica,
      LoopCommands commands,
      StepReports reports,
      StepRunner runner,
      Replica.Surroundings shared) {
    this.replica = replica;
    SchedulerConfig config = shared.limits().scheduler();
    scheduler = new Scheduler(config);
    pipeline = new StepPipeline(scheduler, config, runner);
    vocabSize = shared.model().vocabSize();
    this.commands = commands;
    this.reports = reports;
    admission = shared.admission();
    queue = shared.queue();
    metrics = shared.metrics();
    times = new StepTimes(metrics);
    live = new LiveSequences(scheduler, replica, shared);
  }

  /** Asks the loop to end: with its work, or at the deadline. */
  void drain(Duration timeout) {
    drainDeadlineNanos = System.nanoTime() + timeout.toNanos();
    draining = true;
    commands.wake();
  }

  @Override
  public void run() {
    commands.attach();
    try {
      loop();
    } catch (Throwable e) {
      log.error("the engine has failed", e);
      failure = e;
      failAll(e);
    }
  }

  /** Why the engine has failed; null while it has not. */
  @Nullable Throwable failure() {
    return failure;
  }

  private void loop() throws InterruptedException {
    while (true) {
      boolean noneToCome = draining; // read first: admission ended before this was set
      runCommands();
      if (noneToCome && (!hasWork() && !admission.isHeld() || pastDeadline())) {
        admission.close(); // nor do beam searches come back, but one may just have
        runCommands();
        while (!pipeline.isEmpty()) {
          complete();
        }
        abortAll();
        return;
      }
      if (hasWork()) {
        step();
      } else {
        metrics.observe(scheduler, replica);
        commands.await();
      }
    }
  }

  private boolean hasWork() {
    return scheduler.hasWork() || !pipeline.isEmpty() || suspect;
  }

  private boolean pastDeadline() {
    return System.nanoTime() - drainDeadlineNanos >= 0;
  }

  /** Queues a step, or completes the oldest where none can be queued. */
  private void step() throws InterruptedException {
    if (!suspect && submitNext()) {
      return;
    }
    if (!pipeline.isEmpty()) {
      complete();
    } else if (suspect) {
      pipeline.probe();
      suspect = false;
    } else {
      throw new IllegalStateException("there is work, but the scheduler found none");
    }
  }

  /** Schedules and submits a step; false if there is none now, or if it failed. */
  private boolean submitNext() throws InterruptedException {
    long now = System.nanoTime();
    ScheduledBatch batch = pipeline.schedule();
    if (batch == null) {
      return false;
    }
    metrics.observe(scheduler, replica);
    live.start(batch, now);
    times.submitted(now, pipeline.isEmpty());
    try {
      pipeline.submit();
      return true;
    } catch (BackendException e) {
      throw e;
    } catch (RuntimeException e) {
      StepReport report = reports.takeFree();
      failStep(batch, report, e);
      reports.handOver(report);
      batch.clear();
      return false;
    }
  }

  /** Waits for the oldest step, takes it over and hands it out. */
  private void complete() throws InterruptedException {
    ScheduledBatch batch = pipeline.oldest();
    StepReport report = reports.takeFree();
    try {
      StepOutput output = await(batch, report);
      if (output != null) {
        failInvalidTokens(batch, output, report);
        metrics.routed(output, batch.numTokens);
        scheduler.update(batch, output.tokens);
        int drawn = live.publish(batch, output, report);
        times.completed(batch, drawn, scheduler.numWaiting(), pipeline.isEmpty());
      }
    } finally {
      reports.handOver(report); // also what failed before the engine did
      batch.clear(); // keeps no sequence alive while idle
    }
  }

  /**
   * Null if the step failed, and with it the requests of its batch. If the model then fails at a
   * harmless probe too, it is the model that is broken, not one of the requests. An error of the
   * device fails the engine at once.
   */
  private @Nullable StepOutput await(ScheduledBatch batch, StepReport report) {
    try {
      return pipeline.await();
    } catch (BackendException e) {
      throw e;
    } catch (RuntimeException e) {
      failStep(batch, report, e);
      return null;
    }
  }

  private void failStep(ScheduledBatch batch, StepReport report, RuntimeException e) {
    metrics.stepFailed();
    log.error("a step of {} sequences failed; its requests fail", batch.numSeqs(), e);
    for (int s = 0; s < batch.numSeqs(); s++) {
      live.failRequestOf(batch.sequences.get(s), report);
    }
    scheduler.forgetPrefixes(); // whatever it was may have begun before
    suspect = true;
  }

  /** A token that cannot be drawn, as NaN logits may give, must not find its way back in. */
  private void failInvalidTokens(ScheduledBatch batch, StepOutput output, StepReport report) {
    for (int r = 0; r < batch.numLogitRows; r++) {
      int token = output.tokens[r];
      Sequence sequence = batch.sequences.get(batch.logitSequence[r]);
      if (batch.draws(r) && (token < 0 || token >= vocabSize || !sequence.allows(token))) {
        log.error("the model drew token {}, which it does not have or must not draw", token);
        live.failRequestOf(sequence, report);
        scheduler.forgetPrefixes(); // NaN keys would spoil every later request that begins alike
      }
    }
  }

  private void runCommands() {
    for (LoopCommand command = commands.poll(); command != null; command = commands.poll()) {
      switch (command) {
        case LoopCommand.Admit(ActiveRequest request) -> live.admit(request);
        case LoopCommand.Abort(ActiveSequence sequence) -> live.abort(sequence);
        case LoopCommand.Fail(Throwable cause) ->
            throw new IllegalStateException("another replica has failed", cause);
      }
    }
  }

  /** Ends what is left, and the output thread after it. */
  private void abortAll() throws InterruptedException {
    StepReport report = reports.takeFree();
    queue.takeAll(replica).forEach(live::admit); // nobody else will
    live.abortAll(report);
    metrics.observe(scheduler, replica);
    report.last = true;
    reports.handOver(report);
  }

  /** The engine is broken: tells everyone, and lets nobody in any more. */
  private void failAll(Throwable cause) {
    admission.advanceTo(EngineState.FAILED);
    queue.failAll(cause);
    try {
      StepReport report = reports.takeFree();
      List<ActiveRequest> arrivals = new ArrayList<>(queue.takeAll(replica));
      for (LoopCommand c = commands.poll(); c != null; c = commands.poll()) {
        if (c instanceof LoopCommand.Admit(ActiveRequest request)) {
          arrivals.add(request);
        }
      }
      live.failAll(arrivals, report);
      report.last = true;
      reports.handOver(report);
    } catch (InterruptedException e) {
      log.error("interrupted while failing the engine's requests", e);
    }
  }
}
