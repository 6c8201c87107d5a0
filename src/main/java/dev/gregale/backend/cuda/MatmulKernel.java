package dev.gregale.backend.cuda;

import dev.gregale.backend.WorkspaceLimits;

/** One way to compute out = x * weight^T. */
interface MatmulKernel {

  /** Whether it can, for a weight in that layout and shape and that many rows. */
  boolean accepts(CudaTensor weight, CudaTensor out, int rows);

  void launch(CudaTensor out, CudaTensor x, CudaTensor weight, int rows);

  /**
   * out += x * weight^T.
   *
   * @param out fp32 {@code [rows, N]}
   * @return false if this kernel cannot; then nothing was done
   */
  default boolean launchAdd(CudaTensor out, CudaTensor x, CudaTensor weight, int rows) {
    return false;
  }

  /** Makes the scratch memory for batches up to the limits. */
  default void reserve(WorkspaceLimits limits) {}
}
