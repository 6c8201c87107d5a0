package dev.gregale.model;

import dev.gregale.backend.Backend;
import dev.gregale.backend.ForwardBatch;
import dev.gregale.backend.ModelOps;
import dev.gregale.backend.Step;
import dev.gregale.backend.Tensor;
import dev.gregale.backend.WorkspaceLimits;
import dev.gregale.scheduler.ScheduledBatch;
import dev.gregale.tensor.DType;
import dev.gregale.tensor.Shape;
import java.util.Arrays;
import org.jspecify.annotations.Nullable;

/**
 * Runs scheduled batches: copies their arrays to the device, runs the forward pass and sampling,
 * copies the drawn tokens back. Used by one thread; allocates nothing once warm.
 *
 * <p>Two steps can be under way: what the second needs of the first, the drawn tokens, it takes
 * from where sampling left them on the device. Steps run one after the other, so they share all
 * arrays on the device; results are copied out before the next step overwrites them.
 *
 * <p>A batch of one new token per sequence always runs the same work, so the backend records it
 * once per number of rows ({@link Backend#recordedRows}) and it is replayed from then on.
 */
public final class ModelRunner implements StepRunner {
  private static final int MAX_IN_FLIGHT = 2;

  private final Backend backend;
  private final boolean records;
  private final ForwardBatch batch;
  private final Tensor tokenSources;
  private final DeviceSampling sampling;
  private final Runnable work;
  private final @Nullable Step[] decodeSteps;
  private final StepResults[] results = new StepResults[MAX_IN_FLIGHT];
  private int oldest;
  private int numInFlight;

  /**
   * @param ops the backend's, or a decorator of them, which then sees every step: none is recorded
   * @param maxTokens T, the most tokens of one batch
   * @param maxSeqs S, the most sequences
   * @param maxLogitRows R, the most rows of logits
   * @param maxBlocksPerSeq the width of the block tables
   * @param topN N, the most likeliest tokens reported per row
   */
  public ModelRunner(
      Backend backend,
      ModelOps ops,
      MixtralConfig config,
      MixtralWeights weights,
      KvCache cache,
      int maxTokens,
      int maxSeqs,
      int maxLogitRows,
      int maxBlocksPerSeq,
      int topN) {
    this.backend = backend;
    this.records = ops == backend.kernels();
    this.tokenSources = backend.allocate(DType.I32, Shape.of(maxTokens));
    this.batch =
        new ForwardBatch(
            backend.allocate(DType.I32, Shape.of(maxTokens)),
            backend.allocate(DType.I32, Shape.of(maxTokens)),
            backend.allocate(DType.I32, Shape.of(maxTokens)),
            backend.allocate(DType.I32, Shape.of(maxSeqs + 1)),
            backend.allocate(DType.I32, Shape.of(maxSeqs)),
            backend.allocate(DType.I32, Shape.of(maxSeqs, maxBlocksPerSeq)),
            backend.allocate(DType.I32, Shape.of(maxLogitRows)));
    this.sampling = new DeviceSampling(backend, maxLogitRows, config.vocabSize(), topN);
    backend.reserve(
        workspaceLimits(config, maxTokens, maxSeqs, maxBlocksPerSeq * cache.layer(0).blockSize()));
    Activations activations = Activations.allocate(backend, config, maxTokens, maxLogitRows);
    for (int i = 0; i < MAX_IN_FLIGHT; i++) {
      results[i] =
          new StepResults(backend, sampling.outputs(), activations.expertIds(), maxLogitRows, topN);
    }
    MixtralModel model = new MixtralModel(config, weights, ops);
    this.decodeSteps = new Step[Math.min(maxSeqs, Math.min(maxTokens, maxLogitRows)) + 1];
    this.work =
        () -> {
          ops.gatherTokens(
              batch.tokenIds(),
              tokenSources,
              sampling.outputs().tokens(),
              config.vocabSize(),
              batch.numTokens());
          model.forward(batch, cache, activations);
          sampling.run(ops, activations.logits(), batch.numLogitRows());
        };
  }

  /** What the backend's scratch memory is sized by; to be reserved before the KV cache is sized. */
  public static WorkspaceLimits workspaceLimits(
      MixtralConfig config, int maxTokens, int maxSeqs, int maxModelLen) {
    return new WorkspaceLimits(
        maxTokens,
        maxSeqs,
        maxModelLen,
        config.attentionShape(),
        config.numLocalExperts(),
        config.numExpertsPerTok(),
        config.hiddenSize(),
        config.intermediateSize());
  }

  /** One where ops have run once they return: to run ahead would only delay results. */
  @Override
  public int maxInFlight() {
    return backend.isAsynchronous() ? MAX_IN_FLIGHT : 1;
  }

  @Override
  public void submit(ScheduledBatch scheduled) {
    if (numInFlight == MAX_IN_FLIGHT) {
      throw new IllegalStateException(numInFlight + " steps are under way, which is the limit");
    }
    int seqs = scheduled.numSeqs();
    boolean isDecode = scheduled.numTokens == seqs && scheduled.numLogitRows == seqs;
    if (isDecode) {
      runDecode(scheduled, Math.min(backend.recordedRows(seqs), decodeSteps.length - 1));
    } else {
      write(scheduled, scheduled.numTokens, seqs, scheduled.numLogitRows);
      work.run();
    }
    results[(oldest + numInFlight) % MAX_IN_FLIGHT].start(scheduled);
    numInFlight++;
  }

  @Override
  public StepOutput await() {
    if (numInFlight == 0) {
      throw new IllegalStateException("no step is under way");
    }
    StepResults results = this.results[oldest];
    oldest = (oldest + 1) % MAX_IN_FLIGHT;
    numInFlight--;
    return results.finish();
  }

  /**
   * @param rows the batch's, or more: the rest is padding
   */
  private void runDecode(ScheduledBatch scheduled, int rows) {
    scheduled.padDecode(rows);
    write(scheduled, rows, rows, rows);
    Step step = decodeSteps[rows];
    if (step == null) {
      step = records ? backend.record(work) : work::run;
      decodeSteps[rows] = step;
    }
    step.run();
  }

  private void write(ScheduledBatch scheduled, int tokens, int seqs, int logitRows) {
    backend.write(batch.tokenIds(), scheduled.tokenIds, tokens);
    backend.write(tokenSources, scheduled.tokenSources, tokens);
    backend.write(batch.positions(), scheduled.positions, tokens);
    backend.write(batch.slotMapping(), scheduled.slotMapping, tokens);
    backend.write(batch.cuSeqLens(), scheduled.cuSeqLens, seqs + 1);
    backend.write(batch.contextLens(), scheduled.contextLens, seqs);
    backend.write(batch.blockTables(), scheduled.blockTables, seqs * scheduled.maxBlocksPerSeq);
    backend.write(batch.logitRows(), scheduled.logitRows, logitRows);
    batch.resize(tokens, seqs, logitRows);
    if (sampling.write(scheduled, logitRows)) {
      Arrays.fill(decodeSteps, null);
    }
  }
}
