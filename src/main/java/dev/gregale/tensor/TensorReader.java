package dev.gregale.tensor;

import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.nio.ByteOrder;

/**
 * Random access to the elements of a tensor that lies in several slabs. Every widening to fp32 is
 * exact. Threads may share it.
 */
public final class TensorReader {
  private static final ValueLayout.OfShort SHORT =
      ValueLayout.JAVA_SHORT_UNALIGNED.withOrder(ByteOrder.LITTLE_ENDIAN);
  private static final ValueLayout.OfFloat FLOAT =
      ValueLayout.JAVA_FLOAT_UNALIGNED.withOrder(ByteOrder.LITTLE_ENDIAN);

  private final DType dtype;
  private final MemorySegment[] slabs;
  private final long[] starts; // first element of each slab
  private final long width;

  public TensorReader(HostTensor tensor) {
    this.dtype = tensor.dtype();
    this.slabs = tensor.slabs().toArray(MemorySegment[]::new);
    this.starts = new long[slabs.length + 1];
    for (int i = 0; i < slabs.length; i++) {
      starts[i + 1] = starts[i] + slabs[i].byteSize() / dtype.bytes();
    }
    this.width = tensor.shape().dim(tensor.shape().rank() - 1);
  }

  /** All elements of a tensor as fp32, in row-major order. */
  public static float[] toFloats(HostTensor tensor) {
    float[] values = new float[Math.toIntExact(tensor.shape().numElements())];
    int start = 0;
    for (MemorySegment slab : tensor.slabs()) {
      int count = Math.toIntExact(slab.byteSize() / tensor.dtype().bytes());
      load(slab, tensor.dtype(), 0, values, start, count);
      start += count;
    }
    return values;
  }

  /**
   * Elements {@code [from, from + count)} of a row as fp32.
   *
   * @param row counted over all axes but the last
   */
  public void read(long row, int from, int count, float[] values) {
    long first = row * width + from;
    for (int done = 0; done < count; ) {
      int slab = slabOf(first + done);
      int some = (int) Math.min(count - done, starts[slab + 1] - first - done);
      load(slabs[slab], dtype, first + done - starts[slab], values, done, some);
      done += some;
    }
  }

  /** The same of a tensor of codes, as they are. */
  public void readCodes(long row, int from, int count, byte[] codes) {
    if (dtype != DType.F8_E4M3) {
      throw new IllegalStateException("no codes, but " + dtype);
    }
    long first = row * width + from;
    for (int done = 0; done < count; ) {
      int slab = slabOf(first + done);
      int some = (int) Math.min(count - done, starts[slab + 1] - first - done);
      long at = first + done - starts[slab];
      MemorySegment.copy(slabs[slab], ValueLayout.JAVA_BYTE, at, codes, done, some);
      done += some;
    }
  }

  private int slabOf(long element) {
    int low = 0;
    int high = slabs.length;
    while (high - low > 1) {
      int middle = (low + high) >>> 1;
      if (starts[middle] <= element) {
        low = middle;
      } else {
        high = middle;
      }
    }
    return low;
  }

  private static void load(
      MemorySegment slab, DType dtype, long first, float[] values, int at, int count) {
    switch (dtype) {
      case F32 -> MemorySegment.copy(slab, FLOAT, 4 * first, values, at, count);
      case BF16 -> {
        for (int i = 0; i < count; i++) {
          values[at + i] = Float.intBitsToFloat(slab.get(SHORT, 2 * (first + i)) << 16);
        }
      }
      default -> {
        for (int i = 0; i < count; i++) {
          values[at + i] = load(slab, dtype, first + i);
        }
      }
    }
  }

  /** Element {@code index} of a slab; of codes, what they are before scaling. */
  public static float load(MemorySegment slab, DType dtype, long index) {
    return switch (dtype) {
      case F32 -> slab.get(FLOAT, index * 4);
      case F16 -> Float.float16ToFloat(slab.get(SHORT, index * 2));
      case BF16 -> Float.intBitsToFloat(slab.get(SHORT, index * 2) << 16);
      case F8_E4M3 -> E4M3.decode(slab.get(ValueLayout.JAVA_BYTE, index));
      case F8_E8M0 -> E8M0.decode(slab.get(ValueLayout.JAVA_BYTE, index));
      default -> throw new IllegalArgumentException(dtype + " is no type of weights");
    };
  }
}
