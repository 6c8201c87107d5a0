package dev.gregale.convert;

import dev.gregale.checkpoint.TensorSpec;
import dev.gregale.tensor.HostTensor;
import java.io.IOException;
import java.lang.foreign.MemorySegment;
import java.util.List;

/**
 * How tensors are stored in the target: the one place where a type changes. {@link WeightCast}
 * leaves or rounds them; {@link QuantizedEncoding} gives two tensors for one, codes and scales.
 * Threads may share it.
 */
interface TensorEncoding {

  /** Takes the next bytes of a tensor. */
  @FunctionalInterface
  interface Sink {
    void accept(MemorySegment bytes) throws IOException;
  }

  /** What a tensor of the target's layout is stored as. */
  List<TensorSpec> targets(HostTensor source);

  /**
   * Hands out one of the targets, row-major and little-endian, piece by piece; always the same
   * bytes. A piece is valid until the sink returns.
   *
   * @param target one of {@link #targets}
   * @param maxBytes of a piece
   * @throws dev.gregale.checkpoint.CheckpointException if a value cannot be stored
   */
  void forEachPiece(HostTensor source, TensorSpec target, int maxBytes, Sink sink)
      throws IOException;
}
