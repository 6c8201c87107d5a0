package dev.gregale.model;

import dev.gregale.backend.Backend;
import dev.gregale.backend.ForwardBatch;
import dev.gregale.backend.Kernels;
import dev.gregale.backend.Step;
import dev.gregale.scheduler.ScheduledBatch;
import dev.gregale.tensor.DType;
import dev.gregale.tensor.Shape;

/**
 * Runs scheduled batches: copies their arrays to the device, runs the forward pass and sampling,
 * copies the drawn tokens back. Used by one thread; allocates nothing once warm.
 */
public final class ModelRunner {
  private final Backend backend;
  private final ForwardBatch batch;
  private final DeviceSampling sampling;
  private final Step step;
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
    Activations activations = Activations.allocate(backend, config, maxTokens, maxLogitRows);
    MixtralModel model = new MixtralModel(config, weights, ops);
    this.step =
        backend.record(
            () -> {
              model.forward(batch, cache, activations);
              sampling.run(ops, activations.logits(), batch.numLogitRows());
            });
  }

  /** Runs one step. The result is valid until the next call. */
  public StepOutput run(ScheduledBatch scheduled) {
    int tokens = scheduled.numTokens;
    int seqs = scheduled.numSeqs();
    backend.write(batch.tokenIds(), scheduled.tokenIds, tokens);
    backend.write(batch.positions(), scheduled.positions, tokens);
    backend.write(batch.slotMapping(), scheduled.slotMapping, tokens);
    backend.write(batch.cuSeqLens(), scheduled.cuSeqLens, seqs + 1);
    backend.write(batch.contextLens(), scheduled.contextLens, seqs);
    backend.write(batch.blockTables(), scheduled.blockTables, seqs * scheduled.maxBlocksPerSeq);
    backend.write(batch.logitRows(), scheduled.logitRows, scheduled.numLogitRows);
    batch.resize(tokens, seqs, scheduled.numLogitRows);
    sampling.write(scheduled);
    step.run();
    sampling.read(output, scheduled.numLogitRows);
    return output;
  }
}
