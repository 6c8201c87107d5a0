package dev.gregale.convert;

import dev.gregale.checkpoint.TensorInfo;
import java.io.IOException;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.nio.ByteBuffer;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Future;
import java.util.function.LongConsumer;
import org.jspecify.annotations.Nullable;

/**
 * Writes one tensor at a time, reads it back, compares and sums it. Some pieces of it are on their
 * way to the disk and back while others are gathered or summed. For one thread at a time.
 */
final class TensorWriter {
  /** Pieces that are on their way at the same time. */
  static final int DEPTH = 4;

  private static final int PIECE_BYTES = 4 << 20;
  private static final int PREFETCH_BYTES = 16 << 20;
  private static final int SUM_BYTES = 1 << 16;

  private final ExecutorService transfers;
  private final List<Slot> slots = new ArrayList<>();
  private final byte[] summing = new byte[SUM_BYTES];
  private final Sha256 sha = new Sha256();

  /** Room for a piece: what is written, and what is read back. */
  private record Slot(MemorySegment staging, MemorySegment readBack) {}

  /** A piece on its way; in memory it lies as in the file, relative to a block. */
  private record Transfer(Slot slot, int from, int to, Future<?> ended) {}

  /**
   * @param arena for buffers
   * @param transfers threads that wait for the disk
   * @param maxBytes of a tensor; buffers need not be larger
   */
  TensorWriter(Arena arena, ExecutorService transfers, long maxBytes) {
    this.transfers = transfers;
    long blocks = Math.ceilDiv(maxBytes, ShardFile.BLOCK_BYTES) + 1; // it may begin within one
    long bytes = Math.min(PIECE_BYTES, blocks * ShardFile.BLOCK_BYTES);
    for (int i = 0; i < Math.min(DEPTH, blocks); i++) {
      slots.add(
          new Slot(
              arena.allocate(bytes, ShardFile.BLOCK_BYTES),
              arena.allocate(bytes, ShardFile.BLOCK_BYTES)));
    }
  }

  /**
   * Writes a tensor to its place.
   *
   * @param done is told how many bytes more are there
   * @return the SHA-256 of what was read back
   */
  String write(ConversionPlan plan, TensorInfo tensor, ShardFile file, LongConsumer done)
      throws IOException {
    Run run = new Run(tensor, file, done);
    try {
      plan.forEachPiece(file.shard(), tensor, PREFETCH_BYTES, run::add);
      run.end();
    } finally {
      run.awaitTransfers(); // they use our buffers, also after a failure
    }
    return sha.hex();
  }

  /** One tensor's way. */
  private final class Run {
    private final TensorInfo tensor;
    private final ShardFile file;
    private final LongConsumer done;
    private final @Nullable Transfer[] underway = new Transfer[slots.size()];
    private int next;
    private long position;
    private int from;
    private int to;
    private @Nullable MemorySegment coming;
    private @Nullable Future<?> loaded;

    Run(TensorInfo tensor, ShardFile file, LongConsumer done) {
      this.tensor = tensor;
      this.file = file;
      this.done = done;
      this.position = tensor.offset();
      this.from = (int) (position % ShardFile.BLOCK_BYTES);
      this.to = from;
      sha.hex(); // what a failure may have left
    }

    /** Of a mapped file, the bytes to come are asked for while those before are gathered. */
    void add(MemorySegment bytes) throws IOException {
      Future<?> loading = bytes.isMapped() ? transfers.submit(bytes::load) : null;
      gatherComing();
      if (loading == null) {
        gather(bytes);
      } else {
        coming = bytes;
        loaded = loading;
      }
    }

    private void gatherComing() throws IOException {
      if (coming != null && loaded != null) {
        await(loaded);
        gather(coming);
        coming = null;
      }
    }

    private void gather(MemorySegment bytes) throws IOException {
      for (long at = 0; at < bytes.byteSize(); ) {
        if (to == from) {
          finish(next); // its buffers are needed
        }
        MemorySegment staging = slots.get(next).staging();
        long count = Math.min(bytes.byteSize() - at, staging.byteSize() - to);
        MemorySegment.copy(bytes, at, staging, to, count);
        at += count;
        to += (int) count;
        if (to == staging.byteSize()) {
          send();
        }
      }
    }

    private void send() {
      Slot slot = slots.get(next);
      int begin = from;
      int end = to;
      long at = position;
      Future<?> ended =
          transfers.submit(
              () -> {
                file.write(slot.staging().asByteBuffer().position(begin).limit(end), at);
                file.read(slot.readBack().asByteBuffer().position(begin).limit(end), at);
                return null;
              });
      underway[next] = new Transfer(slot, begin, end, ended);
      next = (next + 1) % slots.size();
      position += end - begin;
      from = 0;
      to = 0;
    }

    /** The rest, then all that is on its way, in order. */
    void end() throws IOException {
      gatherComing();
      if (to > from) {
        send();
      }
      for (int i = 0; i < slots.size(); i++) {
        finish((next + i) % slots.size());
      }
    }

    /** Compares and sums the piece that uses a slot, if there is one. */
    private void finish(int index) throws IOException {
      Transfer transfer = underway[index];
      if (transfer == null) {
        return;
      }
      await(transfer.ended());
      underway[index] = null;
      ByteBuffer bytes = transfer.slot().readBack().asByteBuffer();
      for (int at = transfer.from(); at < transfer.to(); at += SUM_BYTES) {
        int count = Math.min(SUM_BYTES, transfer.to() - at);
        MemorySegment written = transfer.slot().staging().asSlice(at, count);
        if (written.mismatch(transfer.slot().readBack().asSlice(at, count)) >= 0) {
          throw new IOException(tensor.name() + ": read back, it is not what was written");
        }
        bytes.get(at, summing, 0, count);
        sha.update(summing, count);
      }
      done.accept(transfer.to() - transfer.from());
    }

    void awaitTransfers() {
      for (Transfer transfer : underway) {
        if (transfer != null) {
          try {
            await(transfer.ended());
          } catch (IOException | RuntimeException | Error e) {
            // not the first failure, which is on its way already
          }
        }
      }
    }
  }

  private static void await(Future<?> future) throws IOException {
    boolean interrupted = false;
    try {
      while (true) {
        try {
          future.get();
          return;
        } catch (InterruptedException e) {
          interrupted = true; // the disk is not waited for in vain: it answers
        } catch (ExecutionException e) {
          throw failure(e.getCause());
        }
      }
    } finally {
      if (interrupted) {
        Thread.currentThread().interrupt();
      }
    }
  }

  /** The cause as it is, if it may be thrown. */
  static IOException failure(@Nullable Throwable cause) {
    return switch (cause) {
      case IOException io -> io;
      case RuntimeException runtime -> throw runtime;
      case Error error -> throw error;
      case null, default -> throw new IllegalStateException(cause);
    };
  }
}
