package dev.gregale.backend.cuda;

import dev.gregale.backend.SamplingInputs;
import dev.gregale.backend.SamplingOutputs;

/** {@code sample.cu}: a block of threads for each row of logits. */
final class Sampler {
  private static final int THREADS = 1024;
  private final KernelLauncher launcher;
  private final Workspace workspace;
  private final KernelFunction sample;

  Sampler(KernelLauncher launcher, KernelModules modules, Workspace workspace) {
    this.launcher = launcher;
    this.workspace = workspace;
    sample = modules.function("sample", "sample_f32");
  }

  /** See {@link dev.gregale.backend.Kernels#sample}. */
  void launch(SamplingOutputs out, CudaTensor logits, SamplingInputs in, int rows) {
    long adjustments = in.adjustTokens().shape().numElements();
    launcher
        .begin()
        .add(CudaTensor.of(out.tokens()))
        .add(CudaTensor.of(out.logprobs()))
        .add(CudaTensor.of(out.topTokens()))
        .add(CudaTensor.of(out.topLogprobs()))
        .add(logits)
        .add(workspace.address(Workspace.Use.RAW_LOGITS, 4 * adjustments))
        .add(CudaTensor.of(in.temperature()))
        .add(CudaTensor.of(in.topK()))
        .add(CudaTensor.of(in.topP()))
        .add(CudaTensor.of(in.minP()))
        .add(CudaTensor.of(in.repetitionPenalty()))
        .add(CudaTensor.of(in.presencePenalty()))
        .add(CudaTensor.of(in.frequencyPenalty()))
        .add(CudaTensor.of(in.seed()))
        .add(CudaTensor.of(in.position()))
        .add(CudaTensor.of(in.givenToken()))
        .add(CudaTensor.of(in.numLogprobs()))
        .add(CudaTensor.of(in.adjustOffsets()))
        .add(CudaTensor.of(in.adjustTokens()))
        .add(CudaTensor.of(in.adjustCounts()))
        .add(CudaTensor.of(in.adjustBias()))
        .add(CudaTensor.of(in.maskRow()))
        .add(CudaTensor.of(in.allowedTokens()))
        .add(logits.shape().intDim(1))
        .add(out.topTokens().shape().intDim(1))
        .launch(sample, rows, THREADS);
  }
}
