package dev.gregale.model;

import dev.gregale.backend.Backend;
import dev.gregale.backend.ModelOps;
import dev.gregale.backend.SamplingInputs;
import dev.gregale.backend.SamplingOutputs;
import dev.gregale.backend.Tensor;
import dev.gregale.scheduler.ScheduledBatch;
import dev.gregale.tensor.DType;
import dev.gregale.tensor.Shape;

/** The device's side of sampling: its input and output arrays. Legend: R rows, N likeliest. */
final class DeviceSampling {
  private final Backend backend;
  private final SamplingOutputs outputs;
  private SamplingInputs inputs;
  private int adjustCapacity;

  DeviceSampling(Backend backend, int maxRows, int vocabSize, int topN) {
    this.backend = backend;
    this.adjustCapacity = 1024;
    this.inputs =
        new SamplingInputs(
            floats(maxRows),
            ints(maxRows),
            floats(maxRows),
            floats(maxRows),
            floats(maxRows),
            floats(maxRows),
            floats(maxRows),
            backend.allocate(DType.I64, Shape.of(maxRows)),
            ints(maxRows),
            ints(maxRows),
            ints(maxRows),
            ints(maxRows + 1),
            ints(adjustCapacity),
            ints(adjustCapacity),
            floats(adjustCapacity),
            ints(maxRows),
            backend.allocate(DType.I32, Shape.of(maxRows, (vocabSize + 31) / 32)));
    this.outputs =
        new SamplingOutputs(
            ints(maxRows),
            floats(maxRows),
            backend.allocate(DType.I32, Shape.of(maxRows, topN)),
            backend.allocate(DType.F32, Shape.of(maxRows, topN)));
  }

  private Tensor ints(int length) {
    return backend.allocate(DType.I32, Shape.of(length));
  }

  private Tensor floats(int length) {
    return backend.allocate(DType.F32, Shape.of(length));
  }

  /**
   * @param rows of logits, with padding
   * @return whether arrays were replaced, so that what was recorded over the old ones is void
   */
  boolean write(ScheduledBatch scheduled, int rows) {
    int adjustments = scheduled.numAdjustments;
    boolean replaced = adjustments > adjustCapacity;
    if (replaced) {
      growAdjustments(adjustments);
    }
    backend.write(inputs.temperature(), scheduled.temperature, rows);
    backend.write(inputs.topK(), scheduled.topK, rows);
    backend.write(inputs.topP(), scheduled.topP, rows);
    backend.write(inputs.minP(), scheduled.minP, rows);
    backend.write(inputs.repetitionPenalty(), scheduled.repetitionPenalty, rows);
    backend.write(inputs.presencePenalty(), scheduled.presencePenalty, rows);
    backend.write(inputs.frequencyPenalty(), scheduled.frequencyPenalty, rows);
    backend.write(inputs.seed(), scheduled.seed, rows);
    backend.write(inputs.position(), scheduled.samplePosition, rows);
    backend.write(inputs.givenToken(), scheduled.givenToken, rows);
    backend.write(inputs.numLogprobs(), scheduled.numLogprobs, rows);
    backend.write(inputs.adjustOffsets(), scheduled.adjustOffsets, rows + 1);
    backend.write(inputs.adjustTokens(), scheduled.adjustTokens, adjustments);
    backend.write(inputs.adjustCounts(), scheduled.adjustCounts, adjustments);
    backend.write(inputs.adjustBias(), scheduled.adjustBias, adjustments);
    backend.write(inputs.maskRow(), scheduled.maskRow, rows);
    backend.write(inputs.allowedTokens(), scheduled.allowedTokens, scheduled.numMaskWords);
    return replaced;
  }

  private void growAdjustments(int needed) {
    adjustCapacity = Math.max(needed, 2 * adjustCapacity);
    inputs =
        new SamplingInputs(
            inputs.temperature(),
            inputs.topK(),
            inputs.topP(),
            inputs.minP(),
            inputs.repetitionPenalty(),
            inputs.presencePenalty(),
            inputs.frequencyPenalty(),
            inputs.seed(),
            inputs.position(),
            inputs.givenToken(),
            inputs.numLogprobs(),
            inputs.adjustOffsets(),
            ints(adjustCapacity),
            ints(adjustCapacity),
            floats(adjustCapacity),
            inputs.maskRow(),
            inputs.allowedTokens());
  }

  void run(ModelOps ops, Tensor logits, int rows) {
    ops.sample(outputs, logits, inputs, rows);
  }

  SamplingOutputs outputs() {
    return outputs;
  }
}
