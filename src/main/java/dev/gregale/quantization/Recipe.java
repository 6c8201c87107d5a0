package dev.gregale.quantization;

import dev.gregale.tensor.E4M3;
import dev.gregale.tensor.InputScaling;
import dev.gregale.tensor.WeightScaling;

/**
 * A rule by which blocks of values get a scale each, under TransformerEngine's names. Codes are the
 * values times {@link #scale}, rounded to E4M3 and cut off at its largest; {@link #inverse} is what
 * is stored beside them.
 */
public sealed interface Recipe
    permits Float8CurrentScaling, Float8BlockScaling, MXFP8BlockScaling, DelayedScaling {

  /** How weights are cut into blocks, and what becomes of the inputs of a product with them. */
  WeightScaling weights(InputScaling.When when);

  /**
   * What a block is multiplied by before it is rounded.
   *
   * @param amax the largest magnitude in the block; NaN values do not count
   */
  float scale(float amax);

  /** What codes are multiplied by to get the values back. */
  default float inverse(float scale) {
    return 1 / scale;
  }

  /**
   * Quantises one block that lies in a row.
   *
   * @return what its codes are to be multiplied by
   */
  default float quantize(float[] values, int from, int count, byte[] codes, int at) {
    float scale = scale(amax(values, from, count));
    for (int i = 0; i < count; i++) {
      codes[at + i] = E4M3.encode(values[from + i] * scale);
    }
    return inverse(scale);
  }

  /** The largest magnitude; NaN values do not count. */
  static float amax(float[] values, int from, int count) {
    float largest = 0;
    for (int i = from; i < from + count; i++) {
      float magnitude = Math.abs(values[i]);
      largest = magnitude > largest ? magnitude : largest;
    }
    return largest;
  }
}
