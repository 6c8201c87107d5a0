package dev.gregale.backend.cpu;

import static dev.gregale.backend.cpu.VectorMath.INTS;
import static dev.gregale.backend.cpu.VectorMath.LANES;
import static java.nio.ByteOrder.LITTLE_ENDIAN;

import dev.gregale.tensor.DType;
import java.lang.foreign.MemorySegment;
import jdk.incubator.vector.IntVector;
import jdk.incubator.vector.VectorOperators;

/**
 * Pseudo-random weights as fast as memory takes them, for a model of which only the speed matters:
 * a random sign, one of two exponents and 7 random bits of mantissa, which has a mean of 0 and a
 * standard deviation of 0.019.
 */
final class DummyWeights implements WorkerPool.Task {
  private static final int SMALLEST = 0x3c003c00; // 2^-7, twice
  private static final int RANDOM_BITS = 0x80ff80ff; // sign, lowest exponent bit, mantissa
  private static final int SMALLEST_CODE = 0x30303030; // 2^-1, four times
  private static final int RANDOM_CODE_BITS = 0x8f8f8f8f; // sign, lowest exponent bit, mantissa
  private static final int HIGH_HALF = 0xffff0000;
  private static final int FIRST_FACTOR = 0x7feb352d; // of a mixer by Wellons (2018)
  private static final int SECOND_FACTOR = 0x846ca68b;

  private final MemorySegment data;
  private final int kept;
  private final int set;
  private final int used;
  private final int seed;

  /** Under this scale the codes of {@link #fillCodes} have a standard deviation of 0.019. */
  static final float CODE_SCALE = 0x1p-6f;

  /**
   * @param kept which of the random bits are used, and which bits are set, of each int
   */
  private DummyWeights(MemorySegment data, int kept, int set, int used, long seed) {
    this.data = data;
    this.kept = kept;
    this.set = set;
    this.used = used;
    this.seed = Long.hashCode(seed * 0x9E3779B97F4A7C15L);
  }

  /**
   * Fills the memory.
   *
   * @param data a multiple of 4 bytes
   * @param dtype BF16 or F32; the values are exact in bf16 either way
   */
  static void fill(WorkerPool pool, MemorySegment data, DType dtype, long seed) {
    int chunks = Math.clamp(data.byteSize() >> 22, 1, 1 << 16);
    int used = dtype == DType.F32 ? HIGH_HALF : -1;
    pool.run(new DummyWeights(data, RANDOM_BITS, SMALLEST, used, seed), chunks);
  }

  /**
   * Fills the memory with E4M3 codes: the same distribution, with 3 bits of mantissa, times 2^6.
   */
  static void fillCodes(WorkerPool pool, MemorySegment data, long seed) {
    int chunks = Math.clamp(data.byteSize() >> 22, 1, 1 << 16);
    pool.run(new DummyWeights(data, RANDOM_CODE_BITS, SMALLEST_CODE, -1, seed), chunks);
  }

  @Override
  public void run(int chunk, int numChunks, int worker) {
    long words = data.byteSize() / Integer.BYTES;
    long word = words * chunk / numChunks;
    long end = words * (chunk + 1) / numChunks;
    IntVector lanes = IntVector.zero(INTS).addIndex(1);
    for (; word < end; word += LANES) {
      // The last vector of a chunk may write the first words of the next, and what is to be there.
      long at = Math.min(word, words - LANES);
      IntVector bits = mix(lanes.add((int) at).lanewise(VectorOperators.XOR, seed));
      bits.and(kept).or(set).and(used).intoMemorySegment(data, at * Integer.BYTES, LITTLE_ENDIAN);
    }
  }

  private static IntVector mix(IntVector x) {
    IntVector mixed = x.lanewise(VectorOperators.XOR, x.lanewise(VectorOperators.LSHR, 16));
    mixed = mixed.mul(FIRST_FACTOR);
    mixed = mixed.lanewise(VectorOperators.XOR, mixed.lanewise(VectorOperators.LSHR, 15));
    mixed = mixed.mul(SECOND_FACTOR);
    return mixed.lanewise(VectorOperators.XOR, mixed.lanewise(VectorOperators.LSHR, 16));
  }
}
