package dev.gregale.backend.cpu;

import static dev.gregale.backend.cpu.PackedMatrix.PANEL;
import static dev.gregale.backend.cpu.VectorMath.FLOATS;
import static dev.gregale.backend.cpu.VectorMath.INTS;
import static java.nio.ByteOrder.LITTLE_ENDIAN;

import java.lang.foreign.MemorySegment;
import jdk.incubator.vector.FloatVector;
import jdk.incubator.vector.IntVector;
import jdk.incubator.vector.VectorOperators;

/**
 * Widens the codes of a panel, times their scales, to the fp32 that {@link F32Tiles} reads: a slab
 * at a time, which stays in the level 1 cache while all rows of inputs pass by. So a product with
 * codes has the bits of the product with the fp32 weights that they mean.
 */
final class CodedPanels {
  private static final int L = VectorMath.LANES;

  private CodedPanels() {}

  /**
   * Inputs {@code [from, from + depth)} of a panel.
   *
   * @param widened gets {@code [depth, 4 L]} floats
   */
  static void widen(
      PackedMatrix weight, int matrix, int panel, int from, int depth, MemorySegment widened) {
    PackedScales scales = weight.scales();
    int blockColumns = scales.scaling().blockColumns();
    long start = weight.panelStart(matrix, panel);
    int end = from + depth;
    for (int k = from; k < end; ) {
      int block = k / blockColumns;
      int blockEnd = (int) Math.min(end, (block + 1L) * blockColumns);
      widenBlock(
          weight.data(),
          start + (long) k * PANEL,
          blockEnd - k,
          scales,
          scales.start(weight.panelIndex(matrix, panel), block),
          widened,
          (long) (k - from) * PANEL * Float.BYTES);
      k = blockEnd;
    }
  }

  /** One vector of rows after the other: the compiler gives up on four at once. */
  private static void widenBlock(
      MemorySegment codes,
      long at,
      int depth,
      PackedScales scales,
      long scalesAt,
      MemorySegment widened,
      long to) {
    for (int v = 0; v < 4; v++) {
      FloatVector scale = scale(scales, scalesAt, v);
      widenVector(codes, at, depth, 24 - 8 * v, scale, widened, to + (long) v * L * Float.BYTES);
    }
  }

  /**
   * @param shift brings the codes into the highest byte
   */
  private static void widenVector(
      MemorySegment codes,
      long at,
      int depth,
      int shift,
      FloatVector scale,
      MemorySegment widened,
      long to) {
    for (int k = 0; k < depth; k++) {
      IntVector four =
          IntVector.fromMemorySegment(INTS, codes, at + (long) k * PANEL, LITTLE_ENDIAN);
      VectorMath.ofE4M3(four.lanewise(VectorOperators.LSHL, shift))
          .mul(scale)
          .intoMemorySegment(widened, to + (long) k * PANEL * Float.BYTES, LITTLE_ENDIAN);
    }
  }

  /** Of the rows of vector {@code v} of a panel. */
  private static FloatVector scale(PackedScales scales, long at, int v) {
    return scales.areExponents()
        ? VectorMath.ofE8M0(
            IntVector.fromMemorySegment(INTS, scales.data(), at, LITTLE_ENDIAN)
                .lanewise(VectorOperators.LSHR, 8 * v)
                .and(0xff))
        : FloatVector.fromMemorySegment(
            FLOATS, scales.data(), at + (long) v * L * Float.BYTES, LITTLE_ENDIAN);
  }
}
