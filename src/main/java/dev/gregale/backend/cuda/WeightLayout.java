package dev.gregale.backend.cuda;

/** How a tensor's elements lie in device memory. */
enum WeightLayout {
  /** Dense, last axis contiguous: every activation, and weights that only general kernels read. */
  ROW_MAJOR
}
