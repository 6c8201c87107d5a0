package dev.gregale.backend.cuda;

import dev.gregale.tensor.DType;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;

/** Java arrays to and from the device, in the order of the stream. */
final class BatchArrays {
  private final PinnedRing ring;
  private final DeferredWrites deferred;

  BatchArrays(PinnedRing ring, DeferredWrites deferred) {
    this.ring = ring;
    this.deferred = deferred;
  }

  void write(CudaTensor destination, int[] values, int count) {
    requireRoom(destination, count);
    copyIn(destination, values, ValueLayout.JAVA_INT, count);
  }

  void write(CudaTensor destination, long[] values, int count) {
    requireRoom(destination, count);
    copyIn(destination, values, ValueLayout.JAVA_LONG, count);
  }

  /** To fp32, or rounded to the nearest bf16. */
  void write(CudaTensor destination, float[] values, int count) {
    requireRoom(destination, count);
    if (requireFloats(destination) == DType.F32) {
      copyIn(destination, values, ValueLayout.JAVA_FLOAT, count);
      return;
    }
    deferred.flush();
    int most = PinnedRing.BUFFER_BYTES / Short.BYTES;
    for (int at = 0; at < count; at += most) {
      int part = Math.min(most, count - at);
      MemorySegment room = ring.room(part * Short.BYTES);
      for (int i = 0; i < part; i++) {
        room.setAtIndex(ValueLayout.JAVA_SHORT, i, toBf16(values[at + i]));
      }
      ring.copyToDevice(destination.pointer(), (long) at * Short.BYTES, part * Short.BYTES);
    }
  }

  /** Small arrays travel with the next launch, large ones in copies of their own. */
  private void copyIn(CudaTensor destination, Object array, ValueLayout element, int count) {
    int bytes = (int) element.byteSize();
    if (count <= DeferredWrites.MAX_BYTES / bytes) {
      deferred.require(destination.address(), count * bytes);
      MemorySegment.copy(array, 0, ring.memory(), element, ring.position(), count);
      deferred.add(destination.address(), count * bytes);
      return;
    }
    deferred.flush();
    int most = PinnedRing.BUFFER_BYTES / bytes;
    for (int at = 0; at < count; at += most) {
      int part = Math.min(most, count - at);
      MemorySegment.copy(array, at, ring.room(part * bytes), element, 0, part);
      ring.copyToDevice(destination.pointer(), (long) at * bytes, part * bytes);
    }
  }

  void read(CudaTensor source, int[] values, int count) {
    requireRoom(source, count);
    deferred.flush();
    int most = PinnedRing.BUFFER_BYTES / Integer.BYTES;
    for (int at = 0; at < count; at += most) {
      int part = Math.min(most, count - at);
      MemorySegment from =
          ring.copyFromDevice(source.pointer(), (long) at * Integer.BYTES, part * Integer.BYTES);
      MemorySegment.copy(from, ValueLayout.JAVA_INT, 0, values, at, part);
    }
  }

  void read(CudaTensor source, float[] values, int count) {
    requireRoom(source, count);
    deferred.flush();
    boolean isF32 = requireFloats(source) == DType.F32;
    int bytes = source.dtype().bytes();
    int most = PinnedRing.BUFFER_BYTES / bytes;
    for (int at = 0; at < count; at += most) {
      int part = Math.min(most, count - at);
      MemorySegment from = ring.copyFromDevice(source.pointer(), (long) at * bytes, part * bytes);
      if (isF32) {
        MemorySegment.copy(from, ValueLayout.JAVA_FLOAT, 0, values, at, part);
      } else {
        for (int i = 0; i < part; i++) {
          values[at + i] = Float.intBitsToFloat(from.getAtIndex(ValueLayout.JAVA_SHORT, i) << 16);
        }
      }
    }
  }

  private static void requireRoom(CudaTensor tensor, int count) {
    if (count > tensor.shape().numElements()) {
      throw new IllegalArgumentException(
          "%d elements are asked of an array of shape %s".formatted(count, tensor.shape()));
    }
  }

  private static DType requireFloats(CudaTensor tensor) {
    if (tensor.dtype() != DType.F32 && tensor.dtype() != DType.BF16) {
      throw new IllegalArgumentException(
          "floats are asked of an array of " + tensor.dtype() + " " + tensor.shape());
    }
    return tensor.dtype();
  }

  /** Round to nearest, ties to even; NaN stays NaN. */
  static short toBf16(float value) {
    int bits = Float.floatToRawIntBits(value);
    if (Float.isNaN(value)) {
      return (short) (bits >>> 16 | 0x40);
    }
    return (short) (bits + 0x7FFF + (bits >>> 16 & 1) >>> 16);
  }
}
