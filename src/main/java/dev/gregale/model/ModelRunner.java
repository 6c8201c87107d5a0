package dev.gregale.model;

import dev.gregale.backend.Backend;
import dev.gregale.backend.ForwardBatch;
import dev.gregale.backend.Kernels;
import dev.gregale.backend.Step;
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
 * <p>A batch of one new token per sequence always runs the same work, so the backend records it
 * once per number of rows ({@link Backend#recordedRows}) and it is replayed from then on.
 */
public final class ModelRunner {
  private final Backend backend;
  private final ForwardBatch batch;
  private final DeviceSampling sampling;
  private final Runnable work;
  private final @Nullable Step[] decodeSteps;
  private final StepOutput output;

  /**
   * @param ops the backend's, or a decorator of them
   * @param maxTokens T, the most tokens of one batch
   * @param maxSeqs S, the most sequences
   * @param maxLogitRows R, the most rows of logits
   * @param maxBlocksPerSeq the width of the block tables
   * @param topN N, the most likeliest tokens reported per row
   */
  public ModelRunner(
      Backend backend,
      Kernels ops,
      MixtralConfig config,
      MixtralWeights weights,
      KvCache cache,
      int maxTokens,
      int maxSeqs,
      int maxLogitRows,
      int maxBlocksPerSeq,
      int topN) {
    this.backend = backend;
    this.batch =
        new ForwardBatch(
            backend.allocate(DType.I32, Shape.of(maxTokens)),
            backend.allocate(DType.I32, Shape.of(maxTokens)),
            backend.allocate(DType.I32, Shape.of(maxTokens)),
            backend.allocate(DType.I32, Shape.of(maxSeqs + 1)),
            backend.allocate(DType.I32, Shape.of(maxSeqs)),
            backend.allocate(DType.I32, Shape.of(maxSeqs, maxBlocksPerSeq)),
            backend.allocate(DType.I32, Shape.of(maxLogitRows)));
    this.sampling = new DeviceSampling(backend, maxLogitRows, topN);
    this.output = new StepOutput(maxLogitRows, topN);
    backend.reserve(
        workspaceLimits(config, maxTokens, maxSeqs, maxBlocksPerSeq * cache.layer(0).blockSize()));
    Activations activations = Activations.allocate(backend, config, maxTokens, maxLogitRows);
    MixtralModel model = new MixtralModel(config, weights, ops);
    this.decodeSteps = new Step[Math.min(maxSeqs, Math.min(maxTokens, maxLogitRows)) + 1];
    this.work =
        () -> {
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

  /** Runs one step. The result is valid until the next call. */
  public StepOutput run(ScheduledBatch scheduled) {
    int seqs = scheduled.numSeqs();
    boolean isDecode = scheduled.numTokens == seqs && scheduled.numLogitRows == seqs;
    if (isDecode) {
      runDecode(scheduled, Math.min(backend.recordedRows(seqs), decodeSteps.length - 1));
    } else {
      write(scheduled, scheduled.numTokens, seqs, scheduled.numLogitRows);
      work.run();
    }
    sampling.read(output, scheduled.numLogitRows);
    return output;
  }

  /**
   * @param rows the batch's, or more: the rest is padding
   */
  private void runDecode(ScheduledBatch scheduled, int rows) {
    scheduled.padDecode(rows);
    write(scheduled, rows, rows, rows);
    Step step = decodeSteps[rows];
    if (step == null) {
      step = backend.record(work);
      decodeSteps[rows] = step;
    }
    step.run();
  }

  private void write(ScheduledBatch scheduled, int tokens, int seqs, int logitRows) {
    backend.write(batch.tokenIds(), scheduled.tokenIds, tokens);
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
