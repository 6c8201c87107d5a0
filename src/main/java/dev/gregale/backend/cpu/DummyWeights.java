package dev.gregale.backend.cpu;

/**
 * Pseudo-random weights that cost about a nanosecond each and are the same in whatever layout they
 * are asked for: uniform with mean 0 and standard deviation 0.02, exact in bf16.
 */
final class DummyWeights {
  private static final float HALF_WIDTH = 0.0346410f; // 0.02 sqrt(3)

  private DummyWeights() {}

  /** Element {@code index}, in row-major order, of the tensor with that seed. */
  static float value(long seed, long index) {
    long bits = (seed * 0xD1342543DE82EF95L + index) * 0x9E3779B97F4A7C15L;
    bits = (bits ^ (bits >>> 32)) * 0xBF58476D1CE4E5B9L;
    float uniform = (int) (bits >>> 32) * 0x1p-31f;
    return Float.intBitsToFloat(Float.floatToRawIntBits(uniform * HALF_WIDTH) & 0xffff0000);
  }
}
