package dev.gregale.convert;

import dev.gregale.checkpoint.TensorInfo;
import java.io.IOException;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.nio.ByteBuffer;
import java.util.function.LongConsumer;

/**
 * Writes one tensor at a time, reads it back, compares and sums it, in pieces of a size that disks
 * like. For one thread at a time.
 */
final class TensorWriter {
  private static final int PIECE_BYTES = 8 << 20;
  private static final int SUM_BYTES = 1 << 16;

  private final MemorySegment staging;
  private final MemorySegment readBack;
  private final byte[] summing = new byte[SUM_BYTES];
  private final Sha256 sha = new Sha256();

  /**
   * @param arena for two buffers
   * @param maxBytes of a tensor; buffers need not be larger
   */
  TensorWriter(Arena arena, long maxBytes) {
    long blocks = Math.ceilDiv(maxBytes, ShardFile.BLOCK_BYTES) + 1; // it may begin within one
    long bytes = Math.min(PIECE_BYTES, blocks * ShardFile.BLOCK_BYTES);
    this.staging = arena.allocate(bytes, ShardFile.BLOCK_BYTES);
    this.readBack = arena.allocate(bytes, ShardFile.BLOCK_BYTES);
  }

  /**
   * Writes a tensor to its place.
   *
   * @param done is told how many bytes more are there
   * @return the SHA-256 of what was read back
   */
  String write(ConversionPlan plan, TensorInfo tensor, ShardFile file, LongConsumer done)
      throws IOException {
    Pieces pieces = new Pieces(tensor, file, done);
    plan.forEachPiece(tensor, PIECE_BYTES, pieces::add);
    pieces.flush();
    return sha.hex();
  }

  /** Bytes on their way; they lie in memory as in the file, relative to a block. */
  private final class Pieces {
    private final TensorInfo tensor;
    private final ShardFile file;
    private final LongConsumer done;
    private long position;
    private int from;
    private int to;

    Pieces(TensorInfo tensor, ShardFile file, LongConsumer done) {
      this.tensor = tensor;
      this.file = file;
      this.done = done;
      this.position = tensor.offset();
      this.from = (int) (position % ShardFile.BLOCK_BYTES);
      this.to = from;
    }

    void add(MemorySegment bytes) throws IOException {
      if (bytes.isMapped()) {
        bytes.load(); // asks for all of it at once, not for a page whenever one is touched
      }
      for (long at = 0; at < bytes.byteSize(); ) {
        long count = Math.min(bytes.byteSize() - at, staging.byteSize() - to);
        MemorySegment.copy(bytes, at, staging, to, count);
        at += count;
        to += (int) count;
        if (to == staging.byteSize()) {
          flush();
        }
      }
    }

    void flush() throws IOException {
      int count = to - from;
      file.write(buffer(staging), position);
      file.read(buffer(readBack), position);
      if (MemorySegment.mismatch(staging, from, to, readBack, from, to) >= 0) {
        throw new IOException(tensor.name() + ": read back, it is not what was written");
      }
      ByteBuffer bytes = buffer(readBack);
      while (bytes.hasRemaining()) {
        int part = Math.min(SUM_BYTES, bytes.remaining());
        bytes.get(summing, 0, part);
        sha.update(summing, part);
      }
      position += count;
      from = 0;
      to = 0;
      done.accept(count);
    }

    private ByteBuffer buffer(MemorySegment memory) {
      return memory.asByteBuffer().position(from).limit(to);
    }
  }
}
