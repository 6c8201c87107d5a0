package dev.gregale.quantization;

import dev.gregale.tensor.E4M3;
import dev.gregale.tensor.InputScaling;

/**
 * Rounds inputs to what their codes mean, so that a product in fp32 is the product of quantised
 * inputs. Threads may share it.
 */
public final class InputQuantizer {
  private final Recipe recipe;
  private final int block; // inputs that share a scale
  private final boolean isFixed;

  public InputQuantizer(InputScaling scaling) {
    isFixed = scaling.kind() == InputScaling.Kind.STATIC;
    recipe =
        switch (scaling.kind()) {
          case PER_ROW -> new Float8CurrentScaling();
          case BLOCK_128 -> new Float8BlockScaling(false);
          case BLOCK_128_POW2 -> new Float8BlockScaling(true);
          case MX_32 -> new MXFP8BlockScaling(MXFP8BlockScaling.Rounding.UP);
          case STATIC -> new DelayedScaling(scaling.scale());
        };
    block =
        switch (scaling.kind()) {
          case PER_ROW, STATIC -> Integer.MAX_VALUE;
          case BLOCK_128, BLOCK_128_POW2 -> Float8BlockScaling.BLOCK;
          case MX_32 -> MXFP8BlockScaling.BLOCK;
        };
  }

  /**
   * One row: {@code out[to + i] = code * scale} of {@code x[from + i]}; both may be the same.
   *
   * @return how many values a fixed scale has cut off; 0 where scales are the row's own
   */
  public int round(float[] x, int from, int width, float[] out, int to) {
    int cutOff = 0;
    for (int done = 0; done < width; ) {
      int count = Math.min(block, width - done);
      float scale = recipe.scale(Recipe.amax(x, from + done, count));
      float inverse = recipe.inverse(scale);
      for (int i = done; i < done + count; i++) {
        float scaled = x[from + i] * scale;
        cutOff += Math.abs(scaled) > E4M3.MAX ? 1 : 0;
        out[to + i] = E4M3.decode(E4M3.encode(scaled)) * inverse;
      }
      done += count;
    }
    return isFixed ? cutOff : 0;
  }
}
