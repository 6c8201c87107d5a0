package dev.gregale.backend.cpu;

import dev.gregale.tensor.DType;
import dev.gregale.tensor.WeightScaling;
import java.lang.foreign.MemorySegment;

/**
 * The scales of a {@link PackedMatrix} of codes, spread so that each row of a panel has its own:
 * per panel and block of inputs, 4 L floats, or L ints of 4 E8M0 exponents in the order of the
 * codes.
 *
 * @param gridColumns blocks of inputs
 * @param data {@link #bytes}
 */
record PackedScales(WeightScaling scaling, int gridColumns, MemorySegment data) {

  /** What the scales of that many panels take. */
  static long bytes(WeightScaling scaling, int gridColumns, long panels) {
    return panels * gridColumns * PackedMatrix.PANEL * scaling.dtype().bytes();
  }

  /** Where the scales of a block of a panel start in {@link #data}, in bytes. */
  long start(long panel, int block) {
    return (panel * gridColumns + block) * PackedMatrix.PANEL * scaling.dtype().bytes();
  }

  boolean areExponents() {
    return scaling.dtype() == DType.F8_E8M0;
  }
}
