package dev.gregale.backend.cpu;

import dev.gregale.tensor.DType;
import dev.gregale.tensor.HostTensor;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.nio.ByteOrder;

/** Widens stored weights (fp32, fp16, bf16, little-endian) to fp32; every widening is exact. */
final class WeightReader {
  private static final ValueLayout.OfShort SHORT =
      ValueLayout.JAVA_SHORT_UNALIGNED.withOrder(ByteOrder.LITTLE_ENDIAN);
  private static final ValueLayout.OfFloat FLOAT =
      ValueLayout.JAVA_FLOAT_UNALIGNED.withOrder(ByteOrder.LITTLE_ENDIAN);

  private WeightReader() {}

  /** All elements of the tensor in row-major order. */
  static float[] toFloats(HostTensor source) {
    float[] values = new float[Math.toIntExact(source.shape().numElements())];
    int start = 0;
    for (MemorySegment slab : source.slabs()) {
      int count = Math.toIntExact(slab.byteSize() / source.dtype().bytes());
      for (int i = 0; i < count; i++) {
        values[start + i] = read(slab, source.dtype(), i);
      }
      start += count;
    }
    return values;
  }

  /** Element {@code index} of a slab. */
  static float read(MemorySegment slab, DType dtype, long index) {
    return switch (dtype) {
      case F32 -> slab.get(FLOAT, index * 4);
      case F16 -> Float.float16ToFloat(slab.get(SHORT, index * 2));
      case BF16 -> Float.intBitsToFloat(slab.get(SHORT, index * 2) << 16);
      default -> throw new IllegalArgumentException("weights cannot be " + dtype);
    };
  }
}
