package dev.gregale.backend.cuda;

/** One way to compute out = x * weight^T. */
interface MatmulKernel {

  /** Whether it can, for a weight in that layout and shape and that many rows. */
  boolean accepts(CudaTensor weight, CudaTensor out, int rows);

  void launch(CudaTensor out, CudaTensor x, CudaTensor weight, int rows);
}
