package dev.gregale.backend.cuda;

import dev.gregale.backend.AttentionShape;
import dev.gregale.backend.KvLayer;
import org.jspecify.annotations.Nullable;

/**
 * One layer's blocks.
 *
 * @param keys in bf16, in the layout of {@code kv_layout.cuh}; of an FP8 cache blocks that all
 *     layers share, from which this one's codes are made and into which they are widened
 * @param values the same
 * @param codes of an FP8 cache, else null
 */
record CudaKvLayer(
    int numBlocks, int blockSize, DevicePointer keys, DevicePointer values, @Nullable KvCodes codes)
    implements KvLayer {

  private static final int PANEL_COLUMNS = 64;

  /** Elements that a block's keys, or its values, take: heads in panels of 64 columns. */
  static long blockElements(int blockSize, AttentionShape shape) {
    long panels = Math.ceilDiv(shape.headDim(), PANEL_COLUMNS);
    return panels * PANEL_COLUMNS * shape.numKvHeads() * blockSize;
  }
}
