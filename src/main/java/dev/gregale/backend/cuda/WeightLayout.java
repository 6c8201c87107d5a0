package dev.gregale.backend.cuda;

/** How a tensor's elements lie in device memory. */
enum WeightLayout {
  /** Dense, last axis contiguous: every activation, and weights that only general kernels read. */
  ROW_MAJOR,
  /** Tiles of 128 x 64 as Hopper's matrix unit reads them: {@code tiled_layout.cuh}. */
  TILED,
  /** A norm's gain in fp32, and behind it the same in bf16. */
  GAIN
}
