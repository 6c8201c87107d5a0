package dev.gregale.backend.cpu;

import jdk.incubator.vector.FloatVector;
import jdk.incubator.vector.IntVector;
import jdk.incubator.vector.VectorOperators;
import jdk.incubator.vector.VectorSpecies;

/**
 * The vectors of this machine, and functions on them. Each function is made of exactly rounded
 * steps, so that its bits depend neither on the number of lanes nor on the compiler; the JDK's own
 * {@code VectorOperators.EXP} promises neither.
 */
final class VectorMath {
  static final VectorSpecies<Float> FLOATS = FloatVector.SPECIES_PREFERRED;
  static final VectorSpecies<Integer> INTS = IntVector.SPECIES_PREFERRED;

  /** L, the lanes of a vector: 16 with AVX-512, 8 with AVX2, 4 with Neon. */
  static final int LANES = FLOATS.length();

  // exp(x) = 2^n exp(r) with r within half of ln 2; the polynomial is that of Cephes' expf (Moshier
  // 1989), whose error is about one unit in the last place.
  private static final float LARGEST = 88f;
  private static final float SMALLEST = -87.3f;
  private static final float LOG2_E = 1.44269504f;
  private static final float LN2_HIGH = 0.693359375f;
  private static final float LN2_LOW = -2.12194440e-4f;
  private static final float C0 = 1.9875691500e-4f;
  private static final float C1 = 1.3981999507e-3f;
  private static final float C2 = 8.3334519073e-3f;
  private static final float C3 = 4.1665795894e-2f;
  private static final float C4 = 1.6666665459e-1f;
  private static final float C5 = 5.0000001201e-1f;

  /** Adding this leaves the nearest whole number in a float's low bits. */
  private static final float ROUNDER = 0x1.8p23f;

  private static final int ONE_BITS = 0x3f800000;
  private static final int MANTISSA_BITS = 23;

  private static final int E4M3_BIAS = 127 - 7 << MANTISSA_BITS;
  private static final int HALF_OF_SMALLEST_NORMAL = 1 << MANTISSA_BITS - 1;

  private VectorMath() {}

  /** L sums to go on with, or to start at zero. */
  static FloatVector start(float[] sums, int at, boolean goOn) {
    return goOn ? FloatVector.fromArray(FLOATS, sums, at) : FloatVector.zero(FLOATS);
  }

  /**
   * The E4M3 codes in the highest byte of each lane; the lower ones may hold anything. No lane may
   * be NaN.
   *
   * <p>A code's exponent and mantissa, moved to their places in a float and its bias corrected, are
   * the value h of a normal code. Of a subnormal one they are 2^-7 (1 + m/8) instead of 2^-6 m/8:
   * there 2 h - 2^-6 is the value, and it is less than h nowhere else. (A subnormal float times a
   * power of two would do, too, but costs processors a hundred cycles.)
   */
  static FloatVector ofE4M3(IntVector codes) {
    IntVector bits = codes.lanewise(VectorOperators.LSHR, 4).and(0x07f00000);
    FloatVector normal = bits.add(E4M3_BIAS).reinterpretAsFloats();
    FloatVector subnormal = normal.fma(splat(2f), splat(-0x1p-6f));
    return normal
        .reinterpretAsInts()
        .min(subnormal.reinterpretAsInts()) // floats that are not negative, so their order
        .or(codes.and(0x80000000))
        .reinterpretAsFloats();
  }

  /** 2^(code - 127) of the E8M0 code in each lane, 0 to 254. */
  static FloatVector ofE8M0(IntVector codes) {
    return codes
        .lanewise(VectorOperators.LSHL, MANTISSA_BITS)
        .max(HALF_OF_SMALLEST_NORMAL)
        .reinterpretAsFloats();
  }

  /** e^x within 2 units in the last place; arguments are clamped to [-87.3, 88]. */
  static FloatVector exp(FloatVector argument) {
    // Comparisons, because Java's min and max cost several instructions each; NaN stays NaN.
    FloatVector x = argument.blend(SMALLEST, argument.lt(SMALLEST));
    x = x.blend(LARGEST, x.compare(VectorOperators.GT, LARGEST));
    FloatVector rounded = x.fma(FloatVector.broadcast(FLOATS, LOG2_E), splat(ROUNDER));
    FloatVector n = rounded.sub(ROUNDER);
    FloatVector r = n.fma(splat(-LN2_LOW), n.fma(splat(-LN2_HIGH), x));
    FloatVector p = splat(C0).fma(r, splat(C1));
    p = p.fma(r, splat(C2));
    p = p.fma(r, splat(C3));
    p = p.fma(r, splat(C4));
    p = p.fma(r, splat(C5));
    p = p.fma(r.mul(r), r).add(1f);
    IntVector power = rounded.reinterpretAsInts().lanewise(VectorOperators.LSHL, MANTISSA_BITS);
    return p.mul(power.add(ONE_BITS).reinterpretAsFloats());
  }

  /** The same bits as a lane of {@link #exp(FloatVector)}. */
  static float exp(float argument) {
    float x = argument < SMALLEST ? SMALLEST : argument > LARGEST ? LARGEST : argument;
    float rounded = Math.fma(x, LOG2_E, ROUNDER);
    float n = rounded - ROUNDER;
    float r = Math.fma(n, -LN2_LOW, Math.fma(n, -LN2_HIGH, x));
    float p = Math.fma(C0, r, C1);
    p = Math.fma(p, r, C2);
    p = Math.fma(p, r, C3);
    p = Math.fma(p, r, C4);
    p = Math.fma(p, r, C5);
    p = Math.fma(p, r * r, r) + 1f;
    int power = (Float.floatToRawIntBits(rounded) << MANTISSA_BITS) + ONE_BITS;
    return p * Float.intBitsToFloat(power);
  }

  private static FloatVector splat(float value) {
    return FloatVector.broadcast(FLOATS, value);
  }
}
