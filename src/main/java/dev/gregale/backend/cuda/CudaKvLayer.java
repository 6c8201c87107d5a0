package dev.gregale.backend.cuda;

import dev.gregale.backend.KvLayer;

/**
 * One layer's blocks in bf16, keys and values each {@code [numBlocks, G, blockSize, rowElements]}.
 *
 * @param rowElements d rounded up to 8, so that every row starts 16-byte aligned; the rest is zero
 */
record CudaKvLayer(
    int numBlocks, int blockSize, int rowElements, DevicePointer keys, DevicePointer values)
    implements KvLayer {

  private static final int ALIGNMENT = 8;

  static int rowElements(int headDim) {
    return (headDim + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
  }
}
