package dev.gregale.backend.cuda;

import dev.gregale.backend.WorkspaceLimits;

/** One way to compute the mixture of experts of a batch. */
interface ExpertKernel {

  /**
   * The arrays of one call.
   *
   * @param out fp32 or bf16 {@code [T, D]}
   * @param expertIds int32 {@code [T, K]}
   * @param expertWeights fp32 {@code [T, K]}
   */
  record Call(
      CudaTensor out,
      CudaTensor x,
      CudaTensor expertIds,
      CudaTensor expertWeights,
      CudaTensor gateUp,
      CudaTensor down,
      int rows) {

    /** K. */
    int perToken() {
      return expertIds.shape().intDim(1);
    }

    /** E. */
    int numExperts() {
      return down.shape().intDim(0);
    }

    /** D. */
    int hidden() {
      return down.shape().intDim(1);
    }

    /** I. */
    int intermediate() {
      return down.shape().intDim(2);
    }
  }

  boolean accepts(Call call);

  void launch(Call call);

  /**
   * The same, added to the call's out, which is fp32.
   *
   * @return false if this kernel cannot; then nothing was done
   */
  default boolean launchAdd(Call call) {
    return false;
  }

  /** Makes the scratch memory for batches up to the limits. */
  void reserve(WorkspaceLimits limits);
}
