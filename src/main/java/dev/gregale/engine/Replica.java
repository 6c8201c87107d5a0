package dev.gregale.engine;

import dev.gregale.model.StepRunner;
import dev.gregale.sampling.SamplingParams;
import java.time.Duration;
import java.util.function.Consumer;

/**
 * One model with its scheduler and cache, behind two threads: {@code engine-loop} runs it ({@link
 * EngineLoop}), {@code engine-output} turns its tokens into events ({@link OutputProcessor}).
 */
final class Replica {
  /** Steps that the output thread may be behind the loop. */
  private static final int REPORTS = 4;

  private final EngineLoop loop;
  private final Thread loopThread;
  private final Thread outputThread;

  /** What replicas have in common. */
  record Surroundings(
      ServedModel model,
      EngineLimits limits,
      Admission admission,
      ReplicaQueue queue,
      TextStreamFactory texts,
      EngineMetrics metrics) {}

  /**
   * @param index among all replicas
   * @param commands its inbox
   * @param failed told why, at the end, if it failed
   */
  Replica(
      int index,
      LoopCommands commands,
      StepRunner runner,
      Surroundings shared,
      Consumer<Throwable> failed) {
    StepReports reports =
        new StepReports(REPORTS, shared.limits().maxLogitRows(), SamplingParams.MAX_LOGPROBS);
    loop = new EngineLoop(index, commands, reports, runner, shared);
    OutputProcessor output =
        new OutputProcessor(reports, commands, shared.texts(), shared.metrics());
    String suffix = index == 0 ? "" : "-" + index;
    loopThread = Thread.ofPlatform().name("engine-loop" + suffix).daemon().unstarted(loop);
    outputThread =
        Thread.ofPlatform()
            .name("engine-output" + suffix)
            .daemon()
            .unstarted(
                () -> {
                  output.run();
                  Throwable cause = loop.failure();
                  if (cause != null) {
                    failed.accept(cause);
                  }
                });
  }

  void start() {
    outputThread.start();
    loopThread.start();
  }

  boolean hasStarted() {
    return loopThread.getState() != Thread.State.NEW;
  }

  /** Asks the loop to end: with its work, or at the deadline. */
  void drain(Duration timeout) {
    loop.drain(timeout);
  }

  /** Whether both threads have ended in time. */
  boolean join(Duration timeout, Duration grace) throws InterruptedException {
    return loopThread.join(timeout.plus(grace)) && outputThread.join(grace);
  }
}
