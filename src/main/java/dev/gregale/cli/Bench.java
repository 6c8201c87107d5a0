package dev.gregale.cli;

import dev.gregale.backend.AttentionShape;
import dev.gregale.backend.Backend;
import dev.gregale.backend.Ceilings;
import dev.gregale.backend.ModelOps;
import dev.gregale.config.ModelAssembly;
import dev.gregale.config.ModelAssembly.LoadedModel;
import dev.gregale.config.StepLoop;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.function.DoubleSupplier;
import org.jspecify.annotations.Nullable;

/** Measures a model without a server: the bare loop of scheduler and model. */
final class Bench {
  private static final int MAX_WARM_UPS = 500;
  private static final double WARM_UP_SECONDS = 3;

  private final ModelAssembly assembly;
  private final Backend backend;
  private final StepWork work;
  private final int contextTokens;
  private final int repetitions;

  /**
   * @param contextTokens of every sequence before its decode is timed
   */
  Bench(ModelAssembly assembly, int contextTokens, int repetitions) {
    this.assembly = assembly;
    this.backend = assembly.backend();
    this.work = work(assembly);
    this.contextTokens = contextTokens;
    this.repetitions = repetitions;
  }

  private static StepWork work(ModelAssembly assembly) {
    AttentionShape shape = assembly.config().attentionShape();
    int elementBytes = assembly.backend().activationDType().bytes();
    double kvBytes = assembly.backend().kvBlockBytes(1, shape, assembly.kvCacheDType());
    return new StepWork(
        assembly.config(),
        elementBytes,
        assembly.loader().bytesPerProjectionElement(elementBytes),
        kvBytes / (2.0 * shape.numKvHeads() * shape.headDim()));
  }

  BenchReport run(List<Integer> promptLengths, List<Integer> sequenceCounts, int outputTokens) {
    @Nullable Ceilings before = backend.measureCeilings();
    long start = System.nanoTime();
    LoadedModel model = assembly.load();
    double loadSeconds = (System.nanoTime() - start) / 1e9;
    List<BenchReport.Prefill> prefills = new ArrayList<>();
    List<BenchReport.Decode> decodes = new ArrayList<>();
    StepLoop loop = loop(model, backend.kernels());
    OpTimes times = new OpTimes(backend.timeline());
    ModelOps within = times.within(backend.kernels());
    StepLoop ofOps = loop(model, within);
    // What runs on a device at its own pace is timed as it is run: in whole blocks.
    StepLoop ofBlocks =
        loop(model, backend.isAsynchronous() ? times.around(backend.kernels()) : within);
    for (int length : promptLengths) {
      System.err.println("prefill of " + length + " tokens ...");
      prefills.add(prefill(loop, length, times, ofOps));
    }
    for (int count : sequenceCounts) {
      System.err.println("decode of " + count + " sequences ...");
      decodes.add(decode(loop, count, outputTokens, times, ofBlocks));
    }
    @Nullable Ceilings after = before == null ? null : backend.measureCeilings();
    return new BenchReport(
        assembly.name(),
        backend.description(),
        assembly.precision(),
        loadSeconds,
        before == null || after == null ? null : before.max(after),
        prefills,
        decodes);
  }

  private StepLoop loop(LoadedModel model, ModelOps ops) {
    return new StepLoop(
        assembly.limits(), assembly.config().vocabSize(), assembly.runner(model, ops));
  }

  private BenchReport.Prefill prefill(StepLoop loop, int length, OpTimes times, StepLoop timed) {
    double seconds = median(() -> loop.prefill(length));
    Map<String, Double> flops = work.prefillFlops(length);
    timed.prefill(length);
    times.clear();
    timed.prefill(length);
    return new BenchReport.Prefill(
        length,
        length / seconds,
        1e3 * seconds,
        StepWork.total(flops) / seconds / 1e12,
        ops(times.millis(), flops, 1e9));
  }

  private BenchReport.Decode decode(
      StepLoop loop, int sequences, int outputTokens, OpTimes times, StepLoop timed) {
    double seconds = median(() -> loop.decode(sequences, contextTokens, outputTokens));
    Map<String, Double> bytes =
        work.decodeBytes(sequences, contextTokens + (outputTokens + 1) / 2.0);
    double rate = StepWork.total(bytes) * outputTokens / seconds;
    for (int i = 0; i < 2; i++) { // the second counts
      timed.decode(sequences, contextTokens, outputTokens, times::clear);
    }
    Map<String, Double> millis = times.millis();
    millis.replaceAll((op, sum) -> sum / outputTokens);
    return new BenchReport.Decode(
        sequences,
        outputTokens,
        (double) sequences * outputTokens / seconds,
        1e3 * seconds / outputTokens,
        rate / 1e9,
        ops(millis, bytes, 1e6));
  }

  /**
   * @param perMillisecond so much work in a millisecond is one of the rate's unit
   */
  private static List<BenchReport.Op> ops(
      Map<String, Double> millis, Map<String, Double> work, double perMillisecond) {
    double total = StepWork.total(millis);
    List<BenchReport.Op> ops = new ArrayList<>();
    millis.forEach(
        (op, time) -> {
          Double amount = work.get(op);
          ops.add(
              new BenchReport.Op(
                  op, time / total, time, amount == null ? null : amount / time / perMillisecond));
        });
    return ops;
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
