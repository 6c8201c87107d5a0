package dev.gregale.tensor;

import java.lang.foreign.MemorySegment;
import java.util.List;
import org.jspecify.annotations.Nullable;

/**
 * A tensor in host memory on its way to a backend: its row-major bytes are the slabs, one after the
 * other. A stacked or fused weight of a checkpoint (experts, QKV) is thus described in place, over
 * the mapped file, and copied only once, by the backend that takes it.
 *
 * @param name for messages: where the bytes come from
 * @param dtype element type, little-endian
 * @param shape lengths, outermost first
 * @param slabs contiguous pieces whose sizes add up to the tensor's
 * @param scales of F8_E4M3 codes, which mean nothing without; null for every other type
 */
public record HostTensor(
    String name, DType dtype, Shape shape, List<MemorySegment> slabs, @Nullable HostScales scales) {

  public HostTensor {
    if ((dtype == DType.F8_E4M3) != (scales != null)) {
      throw new IllegalArgumentException(
          "tensor %s: %s with %s scales".formatted(name, dtype, scales == null ? "no" : "its"));
    }
    if (scales != null) {
      scales.requireFor(name, shape);
    }
    slabs = List.copyOf(slabs);
    long bytes = 0;
    for (MemorySegment slab : slabs) {
      bytes = Math.addExact(bytes, slab.byteSize());
    }
    if (bytes != shape.numBytes(dtype)) {
      throw new IllegalArgumentException(
          "tensor %s: %s %s needs %d bytes, its slabs have %d"
              .formatted(name, dtype, shape, shape.numBytes(dtype), bytes));
    }
  }

  /** A tensor without scales. */
  public HostTensor(String name, DType dtype, Shape shape, List<MemorySegment> slabs) {
    this(name, dtype, shape, slabs, null);
  }

  /** A dense fp32 tensor over a copy-free view of the array. */
  public static HostTensor of(String name, Shape shape, float[] values) {
    return new HostTensor(name, DType.F32, shape, List.of(MemorySegment.ofArray(values)));
  }
}
