package dev.gregale.backend.cpu;

import dev.gregale.backend.AttentionShape;
import dev.gregale.backend.KvLayer;
import dev.gregale.quantization.InputQuantizer;
import dev.gregale.tensor.DType;
import dev.gregale.tensor.InputScaling;

/**
 * Plain fp32 blocks; of an F8_E4M3 cache, what its codes and scales mean.
 *
 * @param headDim d
 * @param dtype what is kept: F8_E4M3, or anything else for what was given
 * @param keys {@code [numBlocks * blockSize, G, d]}, rotated
 * @param values {@code [numBlocks * blockSize, G, d]}
 */
record ReferenceKvLayer(
    int numBlocks, int blockSize, int headDim, DType dtype, float[] keys, float[] values)
    implements KvLayer {
  private static final InputQuantizer ROUNDING =
      new InputQuantizer(InputScaling.of(InputScaling.Kind.PER_ROW, InputScaling.When.ALWAYS));

  static ReferenceKvLayer allocate(
      int numBlocks, int blockSize, AttentionShape shape, DType dtype) {
    int rowWidth = shape.numKvHeads() * shape.headDim();
    int length = Math.toIntExact((long) numBlocks * blockSize * rowWidth);
    return new ReferenceKvLayer(
        numBlocks, blockSize, shape.headDim(), dtype, new float[length], new float[length]);
  }

  /**
   * Writes one token.
   *
   * @param rows holds its keys {@code [G, d]} from {@code from}, and then its values
   * @param width G d
   */
  void put(int slot, float[] rows, int from, int width) {
    copy(rows, from, keys, slot * width, width);
    copy(rows, from + width, values, slot * width, width);
  }

  private void copy(float[] from, int start, float[] to, int at, int width) {
    if (dtype != DType.F8_E4M3) {
      System.arraycopy(from, start, to, at, width);
      return;
    }
    for (int head = 0; head < width; head += headDim) {
      ROUNDING.round(from, start + head, headDim, to, at + head);
    }
  }
}
