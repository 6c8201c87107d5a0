package dev.gregale.cli;

import dev.gregale.backend.Kernels;
import dev.gregale.config.ModelAssembly;
import dev.gregale.config.ModelAssembly.LoadedModel;
import dev.gregale.config.StepLoop;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.function.DoubleSupplier;

/** Measures a model without a server: the bare loop of scheduler and model. */
final class Bench {
  private static final int MAX_WARM_UPS = 500;
  private static final double WARM_UP_SECONDS = 3;

  private final ModelAssembly assembly;
  private final int contextTokens;
  private final int repetitions;

  /**
   * @param contextTokens of every sequence before its decode is timed
   */
  Bench(ModelAssembly assembly, int contextTokens, int repetitions) {
    this.contextTokens = contextTokens;
    this.assembly = assembly;
    this.repetitions = repetitions;
  }

  BenchReport run(List<Integer> promptLengths, List<Integer> sequenceCounts, int outputTokens) {
    long start = System.nanoTime();
    LoadedModel model = assembly.load();
    double loadSeconds = (System.nanoTime() - start) / 1e9;
    StepLoop loop = loop(model, assembly.backend().kernels());

    List<BenchReport.Prefill> prefills = new ArrayList<>();
    for (int length : promptLengths) {
      System.err.println("prefill of " + length + " tokens ...");
      double seconds = median(() -> loop.prefill(length));
      prefills.add(new BenchReport.Prefill(length, length / seconds, 1e3 * seconds));
    }
    List<BenchReport.Decode> decodes = new ArrayList<>();
    for (int count : sequenceCounts) {
      System.err.println("decode of " + count + " sequences ...");
      double seconds = median(() -> loop.decode(count, contextTokens, outputTokens));
      decodes.add(
          new BenchReport.Decode(
              count,
              outputTokens,
              (double) count * outputTokens / seconds,
              1e3 * seconds / outputTokens));
    }
    Map<String, Double> prefillShares = Map.of();
    Map<String, Double> decodeShares = Map.of();
    if (assembly.backend().name().equals("cpu")) { // others only queue: calls take no time
      OpTimes times = new OpTimes();
      StepLoop timed = loop(model, times.around(assembly.backend().kernels()));
      prefillShares = shares(times, () -> timed.prefill(promptLengths.getFirst()));
      decodeShares =
          shares(times, () -> timed.decode(sequenceCounts.getFirst(), contextTokens, outputTokens));
    }
    return new BenchReport(
        assembly.name(),
        assembly.backend().description(),
        loadSeconds,
        prefills,
        decodes,
        prefillShares,
        decodeShares);
  }

  private StepLoop loop(LoadedModel model, Kernels ops) {
    return new StepLoop(
        assembly.limits(), assembly.config().vocabSize(), assembly.runner(model, ops));
  }

  /** The second run counts. */
  private static Map<String, Double> shares(OpTimes times, Runnable run) {
    System.err.println("shares of the ops ...");
    run.run();
    times.clear();
    run.run();
    return times.shares();
  }

  /** Seconds. The compiler needs some runs, whose number depends on how long they are. */
  private double median(DoubleSupplier run) {
    long start = System.nanoTime();
    for (int i = 0; i < MAX_WARM_UPS && System.nanoTime() - start < 1e9 * WARM_UP_SECONDS; i++) {
      var unused = run.getAsDouble();
    }
    double[] seconds = new double[repetitions];
    for (int i = 0; i < repetitions; i++) {
      seconds[i] = run.getAsDouble();
    }
    Arrays.sort(seconds);
    return seconds[repetitions / 2];
  }
}
