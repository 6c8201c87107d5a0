package dev.gregale.convert;

import static dev.gregale.checkpoint.CheckpointException.quote;

import dev.gregale.checkpoint.CheckpointException;
import dev.gregale.checkpoint.TensorSpec;
import dev.gregale.tensor.DType;
import dev.gregale.tensor.HostTensor;
import dev.gregale.tensor.TensorReader;
import java.io.IOException;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.nio.ByteOrder;
import java.util.List;
import org.jspecify.annotations.Nullable;

/**
 * A tensor's bytes in a type, piece by piece: in place where it is the type that they are stored
 * in, else rounded to the nearest value, ties to even, as PyTorch does.
 *
 * @param dtype F32, F16 or BF16 of all tensors; null: as in the source
 */
record WeightCast(@Nullable DType dtype) implements TensorEncoding {
  private static final ValueLayout.OfShort U16 =
      ValueLayout.JAVA_SHORT_UNALIGNED.withOrder(ByteOrder.LITTLE_ENDIAN);
  private static final ValueLayout.OfInt U32 =
      ValueLayout.JAVA_INT_UNALIGNED.withOrder(ByteOrder.LITTLE_ENDIAN);

  @Override
  public List<TensorSpec> targets(HostTensor source) {
    DType to = dtype == null ? source.dtype() : dtype;
    return List.of(new TensorSpec(source.name(), to, source.shape()));
  }

  /**
   * {@inheritDoc}
   *
   * @throws CheckpointException if a finite value is beyond the type's largest
   */
  @Override
  public void forEachPiece(HostTensor tensor, TensorSpec target, int maxBytes, Sink sink)
      throws IOException {
    DType to = target.dtype();
    int elements = maxBytes / Math.max(tensor.dtype().bytes(), to.bytes());
    boolean cast = tensor.dtype() != to;
    MemorySegment buffer =
        cast ? MemorySegment.ofArray(new byte[elements * to.bytes()]) : MemorySegment.NULL;
    for (MemorySegment slab : tensor.slabs()) {
      long step = (long) elements * tensor.dtype().bytes();
      for (long at = 0; at < slab.byteSize(); at += step) {
        MemorySegment piece = slab.asSlice(at, Math.min(step, slab.byteSize() - at));
        sink.accept(cast ? cast(tensor, piece, to, buffer) : piece);
      }
    }
  }

  private static MemorySegment cast(
      HostTensor tensor, MemorySegment piece, DType to, MemorySegment buffer) {
    long elements = piece.byteSize() / tensor.dtype().bytes();
    for (long i = 0; i < elements; i++) {
      put(tensor.name(), TensorReader.load(piece, tensor.dtype(), i), to, buffer, i);
    }
    return buffer.asSlice(0, elements * to.bytes());
  }

  /**
   * Rounds a value to element {@code i} of a buffer.
   *
   * @param name of the tensor, for messages
   * @throws CheckpointException if the value is finite and beyond the type's largest
   */
  static void put(String name, float value, DType to, MemorySegment buffer, long i) {
    if (!store(buffer, to, i, value)) {
      throw new CheckpointException(
          "tensor %s: %s has no finite value in %s; use bf16 or fp32"
              .formatted(quote(name), value, to));
    }
  }

  /** Whether a finite value stayed finite. */
  private static boolean store(MemorySegment to, DType dtype, long i, float value) {
    switch (dtype) {
      case F32 -> {
        to.set(U32, 4 * i, Float.floatToRawIntBits(value));
        return true;
      }
      case F16 -> {
        short bits = Float.floatToFloat16(value);
        to.set(U16, 2 * i, bits);
        return (bits & 0x7fff) != 0x7c00 || !Float.isFinite(value);
      }
      case BF16 -> {
        short bits = bfloat16(value);
        to.set(U16, 2 * i, bits);
        return (bits & 0x7fff) != 0x7f80 || !Float.isFinite(value);
      }
      default -> throw new IllegalArgumentException(dtype + " is no type of weights");
    }
  }

  /** Rounds to the nearest bfloat16, ties to even; a NaN stays one. */
  static short bfloat16(float value) {
    int bits = Float.floatToRawIntBits(value);
    if (Float.isNaN(value)) {
      return (short) (bits >>> 16 | 0x40);
    }
    return (short) (bits + 0x7fff + (bits >>> 16 & 1) >>> 16);
  }
}
