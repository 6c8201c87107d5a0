package dev.gregale.quantization;

import dev.gregale.tensor.DType;
import dev.gregale.tensor.E4M3;
import dev.gregale.tensor.InputScaling;
import dev.gregale.tensor.WeightScaling;

/**
 * One E8M0 scale, a power of two, per 32 values along a row, of weights and inputs alike.
 *
 * @param rounding of the scale's exponent
 */
public record MXFP8BlockScaling(Rounding rounding) implements Recipe {
  static final int BLOCK = 32;
  private static final float RECIPROCAL_OF_MAX = 1 / E4M3.MAX;
  private static final int MANTISSA = 0x7fffff;
  private static final int BIAS = 127;
  private static final int LARGEST_EXPONENT = 254;

  /** Exponent of the largest E4M3 value. */
  private static final int MAX_EXPONENT = 8;

  /** Two definitions are in use. */
  public enum Rounding {
    /** TransformerEngine: up, so that the largest value of a block is never cut off. */
    UP,
    /** OCP's Microscaling specification 1.0: down; the largest values may be cut off. */
    OCP
  }

  @Override
  public WeightScaling weights(InputScaling.When when) {
    return new WeightScaling(
        DType.F8_E8M0, 1, BLOCK, InputScaling.of(InputScaling.Kind.MX_32, when));
  }

  @Override
  public float scale(float amax) {
    return powerOfTwo(BIAS - (exponent(amax) - BIAS));
  }

  /** The code of the stored scale. */
  private int exponent(float amax) {
    if (amax == Float.POSITIVE_INFINITY) {
      return LARGEST_EXPONENT;
    }
    return switch (rounding) {
      case UP -> {
        int bits = Float.floatToRawIntBits(amax * RECIPROCAL_OF_MAX);
        yield (bits >>> 23) + ((bits & MANTISSA) == 0 ? 0 : 1);
      }
      case OCP -> Math.max(0, (Float.floatToRawIntBits(amax) >>> 23) - MAX_EXPONENT);
    };
  }

  /**
   * @param biased 0 to 254
   */
  private static float powerOfTwo(int biased) {
    return biased == 0 ? 0x1p-127f : Float.intBitsToFloat(biased << 23);
  }
}
