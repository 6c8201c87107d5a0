package dev.gregale.tensor;

/** Scales that are powers of two, as 8-bit exponents: 2^(code - 127). 255 is NaN. */
public final class E8M0 {
  private static final int NAN_CODE = 255;

  private E8M0() {}

  /** The value of a code. The smallest is a subnormal float. */
  public static float decode(byte code) {
    int exponent = Byte.toUnsignedInt(code);
    if (exponent == 0) {
      return 0x1p-127f;
    }
    return exponent == NAN_CODE ? Float.NaN : Float.intBitsToFloat(exponent << 23);
  }

  /** The code of a power of two, or of NaN. */
  public static byte encode(float powerOfTwo) {
    return (byte) (Float.floatToIntBits(powerOfTwo) >>> 23);
  }
}
