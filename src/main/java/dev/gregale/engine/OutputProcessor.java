package dev.gregale.engine;

import dev.gregale.engine.EngineMetrics.Cancellation;
import dev.gregale.sampling.FinishReason;
import java.util.List;
import org.jspecify.annotations.Nullable;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * Turns step reports into events: text, stop strings, scores. Runs on a thread of its own, so that
 * none of it holds up the loop; the only one to emit.
 */
final class OutputProcessor implements Runnable {
  private static final Logger log = LoggerFactory.getLogger(OutputProcessor.class);

  private final StepReports reports;
  private final LoopCommands commands;
  private final TextStreamFactory textStreams;
  private final EngineMetrics metrics;

  OutputProcessor(
      StepReports reports,
      LoopCommands commands,
      TextStreamFactory textStreams,
      EngineMetrics metrics) {
    this.reports = reports;
    this.commands = commands;
    this.textStreams = textStreams;
    this.metrics = metrics;
  }

  /** Until the last report. */
  @Override
  public void run() {
    try {
      boolean last = false;
      while (!last) {
        StepReport report = reports.takeFilled();
        last = report.last;
        try {
          process(report);
        } catch (Throwable e) { // without this thread the loop would wait for ever
          log.error("handling the output of a step failed", e);
        }
        reports.giveBack(report);
      }
    } catch (InterruptedException e) {
      log.error("the engine's output thread was interrupted and ends", e);
    }
  }

  private void process(StepReport report) {
    for (StepReport.Routing routing : report.routings) {
      ActiveSequence sequence = routing.sequence();
      guarded(sequence, () -> sequence.addRouting(routing.firstPosition(), routing.expertIds()));
    }
    for (int r = 0; r < report.numRows(); r++) {
      ActiveSequence sequence = report.sequence(r);
      int row = r;
      guarded(sequence, () -> row(sequence, report, row));
    }
    for (StepReport.End end : report.ends) {
      guarded(end.sequence(), () -> end(end));
    }
    for (StepReport.Failure failure : report.failures) {
      fail(failure.request(), failure.error());
    }
  }

  /** What goes wrong with one sequence must cost nobody but its request. */
  private void guarded(ActiveSequence sequence, Runnable work) {
    if (sequence.ended()) {
      return;
    }
    try {
      work.run();
    } catch (Throwable e) {
      ActiveRequest request = sequence.request();
      log.error("request {}: turning tokens into events failed", request.id(), e);
      fail(request, new EngineUnavailableException("The engine failed to decode its output."));
      abort(request);
    }
  }

  private void row(ActiveSequence sequence, StepReport report, int r) {
    if (!report.drawn(r)) {
      sequence.addPromptScore(report.token(r));
      return;
    }
    emitPromptScores(sequence);
    emitRouting(sequence);
    time(sequence);
    TokenLogprob token = report.token(r);
    FinishReason reason = report.reason(r);
    SequenceText text = sequence.text(textStreams);
    String shown = text.push(token.tokenId(), reason);
    emit(sequence, new GenerationEvent.Tokens(sequence.index(), shown, List.of(token)));
    if (text.stopped()) {
      if (reason == null) {
        commands.submit(new LoopCommand.Abort(sequence)); // the scheduler does not know of text
      }
      reason = FinishReason.STOP;
    }
    finish(sequence, reason, report.cachedTokens(r));
  }

  private void time(ActiveSequence sequence) {
    long now = System.nanoTime();
    long sinceLast = sequence.countToken(now);
    if (sinceLast < 0) {
      metrics.firstToken(now - sequence.request().arrivalNanos());
    } else {
      metrics.nextToken(sinceLast);
    }
  }

  /** A sequence ended without a token in that step. */
  private void end(StepReport.End end) {
    ActiveSequence sequence = end.sequence();
    if (end.reason() != FinishReason.ABORT) {
      emitPromptScores(sequence);
      emitRouting(sequence);
    }
    SequenceText text = sequence.textIfOpen();
    String rest = text == null ? "" : text.finish();
    if (!rest.isEmpty()) {
      emit(sequence, new GenerationEvent.Tokens(sequence.index(), rest, List.of()));
    }
    finish(sequence, end.reason(), end.cachedTokens());
  }

  private void emitPromptScores(ActiveSequence sequence) {
    List<TokenLogprob> scores = sequence.takePromptScores();
    if (scores != null) {
      emit(sequence, new GenerationEvent.PromptScored(sequence.index(), scores));
    }
  }

  private void emitRouting(ActiveSequence sequence) {
    short[] expertIds = sequence.takeRouting();
    if (expertIds != null) {
      emit(sequence, new GenerationEvent.Routed(sequence.index(), expertIds));
    }
  }

  private void finish(ActiveSequence sequence, @Nullable FinishReason reason, int cachedTokens) {
    if (reason != null && sequence.end()) {
      metrics.finished(reason);
      if (reason != FinishReason.ABORT) {
        metrics.ended(sequence, System.nanoTime());
      }
      int promptTokens = sequence.numPromptTokens();
      int completionTokens = sequence.completionTokens();
      emit(
          sequence,
          new GenerationEvent.Finished(
              sequence.index(), reason, promptTokens, cachedTokens, completionTokens));
      if (sequence.request().sequenceClosed()) {
        RequestEvent.commit(sequence.request(), "finished");
      }
    }
  }

  private void emit(ActiveSequence sequence, GenerationEvent event) {
    ActiveRequest request = sequence.request();
    if (!request.emit(event)) {
      log.warn("request {}: its reader has fallen too far behind and is dropped", request.id());
      metrics.cancelled(Cancellation.SLOW_READER);
      fail(request, new SlowReaderException("The client did not read the answer fast enough."));
      abort(request);
    }
  }

  private void fail(ActiveRequest request, RuntimeException error) {
    for (ActiveSequence sequence : request.sequences()) {
      if (sequence.end()) {
        metrics.failed();
      }
    }
    request.fail(error);
    RequestEvent.commit(request, "failed");
  }

  private void abort(ActiveRequest request) {
    for (ActiveSequence sequence : request.sequences()) {
      commands.submit(new LoopCommand.Abort(sequence));
    }
  }
}
