package dev.gregale.backend.cpu;

import dev.gregale.backend.Tensor;
import dev.gregale.tensor.DType;
import dev.gregale.tensor.Shape;
import dev.gregale.tensor.TensorReader;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.nio.ByteOrder;

/**
 * A table {@code [V, D]} in the precision of its checkpoint, widened row by row as it is read.
 *
 * @param dtype F32, F16 or BF16
 * @param data row-major elements
 */
record StoredRows(DType dtype, Shape shape, MemorySegment data) implements Tensor {
  private static final ValueLayout.OfShort SHORT =
      ValueLayout.JAVA_SHORT_UNALIGNED.withOrder(ByteOrder.LITTLE_ENDIAN);

  /** Copies a row to {@code out[at ..]} as fp32. */
  void read(int row, float[] out, int at) {
    int width = shape.intDim(1);
    long start = (long) row * width;
    if (dtype == DType.BF16) {
      for (int i = 0; i < width; i++) {
        out[at + i] = Float.intBitsToFloat(data.get(SHORT, (start + i) * 2) << 16);
      }
    } else {
      for (int i = 0; i < width; i++) {
        out[at + i] = TensorReader.load(data, dtype, start + i);
      }
    }
  }
}
