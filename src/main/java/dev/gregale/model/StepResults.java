package dev.gregale.model;

import dev.gregale.backend.Backend;
import dev.gregale.backend.Readback;
import dev.gregale.backend.SamplingOutputs;
import dev.gregale.backend.Tensor;
import dev.gregale.scheduler.ScheduledBatch;
import dev.gregale.tensor.Shape;
import java.util.List;

/** The results of one step that is under way. Log-probabilities come only where rows ask. */
final class StepResults {
  private final Readback tokens;
  private final Readback logprobs;
  private final Readback topTokens;
  private final Readback topLogprobs;
  private final Readback expertIds;
  private final int expertsPerToken;
  private final StepOutput output;
  private int maxNumLogprobs;

  /**
   * @param expertIds of each layer int32 {@code [T, K]}
   */
  StepResults(
      Backend backend, SamplingOutputs outputs, List<Tensor> expertIds, int maxRows, int topN) {
    tokens = backend.readback(outputs.tokens());
    logprobs = backend.readback(outputs.logprobs());
    topTokens = backend.readback(outputs.topTokens());
    topLogprobs = backend.readback(outputs.topLogprobs());
    this.expertIds = backend.readback(expertIds);
    Shape shape = expertIds.getFirst().shape();
    expertsPerToken = shape.intDim(1);
    output = new StepOutput(maxRows, topN, Math.toIntExact(expertIds.size() * shape.numElements()));
  }

  /** Queues the copies behind the step. */
  void start(ScheduledBatch scheduled) {
    int rows = scheduled.numLogitRows;
    maxNumLogprobs = -1;
    for (int row = 0; row < rows; row++) {
      maxNumLogprobs = Math.max(maxNumLogprobs, scheduled.numLogprobs[row]);
    }
    tokens.start(rows);
    expertIds.start(scheduled.numTokens * expertsPerToken);
    if (maxNumLogprobs >= 0) {
      logprobs.start(rows);
    }
    if (maxNumLogprobs > 0) {
      topTokens.start(rows * output.topN);
      topLogprobs.start(rows * output.topN);
    }
  }

  /** Waits for the step. */
  StepOutput finish() {
    tokens.finish(output.tokens);
    expertIds.finish(output.expertIds);
    if (maxNumLogprobs >= 0) {
      logprobs.finish(output.logprobs);
    }
    if (maxNumLogprobs > 0) {
      topTokens.finish(output.topTokens);
      topLogprobs.finish(output.topLogprobs);
    }
    return output;
  }
}
