package dev.gregale.tensor;

/**
 * The 8-bit floats of the FP8 recipes (Micikevicius et al. 2022, "FP8 Formats for Deep Learning"):
 * sign, 4 bits of exponent with bias 7, 3 bits of mantissa; no infinity; 0x7f and 0xff are NaN.
 */
public final class E4M3 {

  /** The largest value, 1.75 * 2^8. */
  public static final float MAX = 448;

  /** The code of {@link #MAX}. */
  public static final int MAX_CODE = 0x7e;

  private static final int NAN_CODE = 0x7f;
  private static final float SMALLEST_NORMAL = 0x1p-6f;
  private static final int EXPONENT_OFFSET = (127 - 7) << 3; // an fp32's exponent against ours

  /** Adding this leaves a multiple of 2^-9, the smallest subnormal, in a float's low bits. */
  private static final float ROUNDER = 0x1p14f;

  private static final float[] VALUES = new float[256];

  static {
    for (int code = 0; code < 256; code++) {
      int exponent = code >> 3 & 15;
      int mantissa = code & 7;
      double value =
          exponent == 0 ? mantissa * 0x1p-9 : Math.scalb(1 + mantissa / 8.0, exponent - 7);
      VALUES[code] = (code & 0x7f) == NAN_CODE ? Float.NaN : (float) (code < 128 ? value : -value);
    }
  }

  private E4M3() {}

  /** The nearest code, ties to the even one; what is beyond the largest becomes the largest. */
  public static byte encode(float value) {
    int bits = Float.floatToRawIntBits(value);
    int sign = bits >>> 24 & 0x80;
    float magnitude = Math.abs(value);
    int code;
    if (magnitude < SMALLEST_NORMAL) {
      code = Float.floatToRawIntBits(magnitude + ROUNDER) - Float.floatToRawIntBits(ROUNDER);
    } else if (magnitude >= MAX) {
      code = MAX_CODE;
    } else if (magnitude < MAX) {
      int exact = bits & 0x7fffffff;
      code = (exact + 0x7ffff + (exact >>> 20 & 1) >>> 20) - EXPONENT_OFFSET;
    } else {
      code = NAN_CODE;
    }
    return (byte) (sign | code);
  }

  /** The value of a code, exactly. */
  public static float decode(byte code) {
    return VALUES[Byte.toUnsignedInt(code)];
  }
}
