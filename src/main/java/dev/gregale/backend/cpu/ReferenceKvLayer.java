package dev.gregale.backend.cpu;

import dev.gregale.backend.AttentionShape;
import dev.gregale.backend.KvLayer;

/**
 * Plain fp32 blocks.
 *
 * @param keys {@code [numBlocks * blockSize, G, d]}, rotated
 * @param values {@code [numBlocks * blockSize, G, d]}
 */
record ReferenceKvLayer(int numBlocks, int blockSize, float[] keys, float[] values)
    implements KvLayer {

  static ReferenceKvLayer allocate(int numBlocks, int blockSize, AttentionShape shape) {
    int rowWidth = shape.numKvHeads() * shape.headDim();
    int length = Math.toIntExact((long) numBlocks * blockSize * rowWidth);
    return new ReferenceKvLayer(numBlocks, blockSize, new float[length], new float[length]);
  }
}
