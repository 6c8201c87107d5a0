package dev.gregale.config;

import dev.gregale.engine.EngineLimits;
import dev.gregale.engine.StepPipeline;
import dev.gregale.model.StepRunner;
import dev.gregale.sampling.SamplingParams;
import dev.gregale.scheduler.ScheduledBatch;
import dev.gregale.scheduler.Scheduler;
import dev.gregale.scheduler.Sequence;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.SplittableRandom;

/**
 * The bare loop of scheduler and model that the engine runs, over random prompts, greedily: to warm
 * a model up, and to measure it. Must not run while an engine uses the same model.
 */
public final class StepLoop {
  private static final int WARM_UP_PROMPT = 64;
  private static final int WARM_UP_OUTPUT = 16;
  private static final int WARM_ROUNDS = 16; // none of them a tenth faster than all before

  private final EngineLimits limits;
  private final int vocabSize;
  private final StepRunner runner;
  private final SplittableRandom random = new SplittableRandom(1);

  public StepLoop(EngineLimits limits, int vocabSize, StepRunner runner) {
    this.limits = limits;
    this.vocabSize = vocabSize;
    this.runner = runner;
  }

  /** Seconds from an empty engine to the first token after a prompt of that length. */
  public double prefill(int promptTokens) {
    Scheduler scheduler = new Scheduler(limits.scheduler());
    scheduler.add(sequence(promptTokens, 1));
    StepPipeline pipeline = pipeline(scheduler);
    long start = System.nanoTime();
    while (scheduler.hasWork()) {
      if (!submit(pipeline)) {
        complete(scheduler, pipeline);
      }
    }
    return (System.nanoTime() - start) / 1e9;
  }

  /**
   * Seconds of {@code outputTokens} decode steps alone: prompts are computed before. Sequences
   * whose prompt is done sooner decode beside the others' prompts, {@link #prefillSteps} tokens at
   * most.
   */
  public double decode(int sequences, int contextTokens, int outputTokens) {
    return decode(sequences, contextTokens, outputTokens, () -> {});
  }

  /**
   * The same, with something to do when the prompts are computed.
   *
   * @param atStart of what is timed, in its time
   */
  public double decode(int sequences, int contextTokens, int outputTokens, Runnable atStart) {
    Scheduler scheduler = new Scheduler(limits.scheduler());
    List<Sequence> all = new ArrayList<>();
    int ahead = prefillSteps(limits, sequences, contextTokens);
    for (int i = 0; i < sequences; i++) {
      Sequence sequence = sequence(contextTokens, ahead + outputTokens);
      scheduler.add(sequence);
      all.add(sequence);
    }
    StepPipeline pipeline = pipeline(scheduler);
    while (all.stream().anyMatch(sequence -> sequence.numOutputTokens() == 0)) {
      if (submit(pipeline)) {
        complete(scheduler, pipeline);
      }
    }
    long start = System.nanoTime();
    atStart.run();
    int submitted = 0;
    do {
      if (submitted < outputTokens && submit(pipeline)) {
        submitted++;
      } else {
        complete(scheduler, pipeline);
      }
    } while (scheduler.hasWork() && !(submitted == outputTokens && pipeline.isEmpty()));
    return (System.nanoTime() - start) / 1e9;
  }

  /** Steps that compute so many prompts, at most. */
  public static int prefillSteps(EngineLimits limits, int sequences, int contextTokens) {
    return prefillSteps(limits.maxNumBatchedTokens(), sequences, contextTokens);
  }

  /** The same where a step takes that many tokens. */
  public static int prefillSteps(int maxNumBatchedTokens, int sequences, int contextTokens) {
    int room = Math.max(1, maxNumBatchedTokens - sequences); // decoding takes the rest
    return Math.ceilDiv(sequences * contextTokens, room) + 1;
  }

  /**
   * Runs until rounds no longer get faster or the time is up, so that the first request is not the
   * one that pays: the Vector API is slow until it is compiled.
   *
   * @param atRound called after each round; what it throws ends the warming up
   */
  public void warmUp(Duration atMost, Runnable atRound) {
    int prompt = Math.clamp(limits.maxModelLen() / 2, 1, WARM_UP_PROMPT);
    int output = Math.clamp(limits.maxModelLen() - prompt, 1, WARM_UP_OUTPUT);
    long end = System.nanoTime() + atMost.toNanos();
    double best = Double.POSITIVE_INFINITY;
    int roundsSinceBest = 0;
    do {
      double seconds = prefill(prompt) + decode(1, 1, Math.max(1, output - 2));
      atRound.run();
      roundsSinceBest = seconds < 0.9 * best ? 0 : roundsSinceBest + 1;
      best = Math.min(best, seconds);
    } while (roundsSinceBest < WARM_ROUNDS && System.nanoTime() < end);
  }

  private StepPipeline pipeline(Scheduler scheduler) {
    return new StepPipeline(scheduler, limits.scheduler(), runner);
  }

  /** False where a step has to be completed first. */
  private static boolean submit(StepPipeline pipeline) {
    boolean found = pipeline.schedule() != null;
    if (found) {
      pipeline.submit();
    }
    return found;
  }

  private static void complete(Scheduler scheduler, StepPipeline pipeline) {
    ScheduledBatch batch = pipeline.oldest();
    scheduler.update(batch, pipeline.await().tokens);
  }

  private Sequence sequence(int promptTokens, int outputTokens) {
    int[] prompt = random.ints(promptTokens, 0, vocabSize).toArray();
    SamplingParams params =
        SamplingParams.builder().temperature(0).ignoreEos(true).maxTokens(outputTokens).build();
    return new Sequence(prompt, params, 0, new int[0], limits.maxModelLen(), null);
  }
}
