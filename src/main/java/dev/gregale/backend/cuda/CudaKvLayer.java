package dev.gregale.backend.cuda;

import dev.gregale.backend.AttentionShape;
import dev.gregale.backend.KvLayer;

/** One layer's blocks in bf16, keys and values each in the layout of {@code kv_layout.cuh}. */
record CudaKvLayer(int numBlocks, int blockSize, DevicePointer keys, DevicePointer values)
    implements KvLayer {

  private static final int PANEL_COLUMNS = 64;

  /** Elements that a block's keys, or its values, take: heads in panels of 64 columns. */
  static long blockElements(int blockSize, AttentionShape shape) {
    long panels = Math.ceilDiv(shape.headDim(), PANEL_COLUMNS);
    return panels * PANEL_COLUMNS * shape.numKvHeads() * blockSize;
  }
}
