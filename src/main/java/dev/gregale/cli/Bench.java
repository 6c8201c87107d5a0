package dev.gregale.cli;

import dev.gregale.config.ModelAssembly;
import dev.gregale.config.ModelAssembly.LoadedModel;
import dev.gregale.model.ModelRunner;
import dev.gregale.sampling.SamplingParams;
import dev.gregale.scheduler.ScheduledBatch;
import dev.gregale.scheduler.Scheduler;
import dev.gregale.scheduler.Sequence;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.SplittableRandom;

/**
 * Measures a model without a server: the bare loop of scheduler and model that the engine runs,
 * over random prompts, greedily.
 */
final class Bench {
  private final ModelAssembly assembly;
  private final int repetitions;
  private final SplittableRandom random = new SplittableRandom(1);

  Bench(ModelAssembly assembly, int repetitions) {
    this.assembly = assembly;
    this.repetitions = repetitions;
  }

  BenchReport run(List<Integer> promptLengths, List<Integer> sequenceCounts, int outputTokens) {
    long start = System.nanoTime();
    LoadedModel model = assembly.load();
    double loadSeconds = (System.nanoTime() - start) / 1e9;
    ModelRunner runner = assembly.runner(model, assembly.backend().kernels());

    List<BenchReport.Prefill> prefills = new ArrayList<>();
    for (int length : promptLengths) {
      System.err.println("prefill of " + length + " tokens ...");
      double seconds = median(() -> prefill(runner, length));
      prefills.add(new BenchReport.Prefill(length, length / seconds, 1e3 * seconds));
    }
    List<BenchReport.Decode> decodes = new ArrayList<>();
    for (int count : sequenceCounts) {
      System.err.println("decode of " + count + " sequences ...");
      double seconds = median(() -> decode(runner, count, outputTokens));
      decodes.add(
          new BenchReport.Decode(
              count,
              outputTokens,
              (double) count * outputTokens / seconds,
              1e3 * seconds / outputTokens));
    }
    System.err.println("shares of the ops ...");
    OpTimes times = new OpTimes();
    ModelRunner timed = assembly.runner(model, times.around(assembly.backend().kernels()));
    prefill(timed, promptLengths.getFirst());
    times.clear();
    prefill(timed, promptLengths.getFirst());
    var prefillOps = times.shares();
    decode(timed, sequenceCounts.getFirst(), outputTokens);
    times.clear();
    decode(timed, sequenceCounts.getFirst(), outputTokens);
    return new BenchReport(
        assembly.name(),
        assembly.backend().description(),
        loadSeconds,
        prefills,
        decodes,
        prefillOps,
        times.shares());
  }

  /** One measurement in seconds. */
  private interface Measurement {
    double seconds();
  }

  /** The compiler needs some runs, whose number depends on how long they are. */
  private double median(Measurement measurement) {
    double warm = 0;
    for (int i = 0; i < 200 && warm < 2; i++) {
      warm += measurement.seconds();
    }
    double[] seconds = new double[repetitions];
    for (int i = 0; i < repetitions; i++) {
      seconds[i] = measurement.seconds();
    }
    Arrays.sort(seconds);
    return seconds[repetitions / 2];
  }

  /** From an empty engine to the first token. */
  private double prefill(ModelRunner runner, int promptTokens) {
    Scheduler scheduler = new Scheduler(assembly.limits().scheduler());
    ScheduledBatch batch = assembly.limits().scheduler().newBatch();
    Sequence sequence = sequence(promptTokens, 1);
    long start = System.nanoTime();
    scheduler.add(sequence);
    while (scheduler.hasWork()) {
      step(scheduler, batch, runner);
    }
    return (System.nanoTime() - start) / 1e9;
  }

  /** The decode steps alone: prompts of one token are computed before the clock starts. */
  private double decode(ModelRunner runner, int sequences, int outputTokens) {
    Scheduler scheduler = new Scheduler(assembly.limits().scheduler());
    ScheduledBatch batch = assembly.limits().scheduler().newBatch();
    for (int i = 0; i < sequences; i++) {
      scheduler.add(sequence(1, outputTokens + 1));
    }
    step(scheduler, batch, runner);
    long start = System.nanoTime();
    while (scheduler.hasWork()) {
      step(scheduler, batch, runner);
    }
    return (System.nanoTime() - start) / 1e9;
  }

  private static void step(Scheduler scheduler, ScheduledBatch batch, ModelRunner runner) {
    scheduler.schedule(batch);
    scheduler.update(batch, runner.run(batch).tokens);
  }

  private Sequence sequence(int promptTokens, int outputTokens) {
    int[] prompt = random.ints(promptTokens, 0, assembly.config().vocabSize()).toArray();
    SamplingParams params =
        SamplingParams.builder().temperature(0).ignoreEos(true).maxTokens(outputTokens).build();
    return new Sequence(prompt, params, 0, new int[0], assembly.limits().maxModelLen());
  }
}
