package dev.gregale.backend.cuda;

import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;

/**
 * Small arrays on their way to the device, gathered until something is launched that may read them:
 * one kernel then carries out all of them, where a copy each would cost more than the step of a
 * small model. Nobody else may use the ring in between: {@link #flush} comes first.
 */
final class DeferredWrites {
  /** Longer arrays are copied by the driver. */
  static final int MAX_BYTES = 256 << 10;

  /** What one block of threads carries: reads over the bus take long, so many go side by side. */
  private static final int PIECE_BYTES = 4 << 10;

  private static final int MAX_WRITES = 256;
  private static final int FIELDS = 3; // struct Write of batch_arrays.cu
  private static final int LIST_BYTES = Long.BYTES * FIELDS * MAX_WRITES;
  private static final int THREADS = 256;
  private final PinnedRing ring;
  private final KernelLauncher launcher;
  private final KernelFunction write;
  private final long[] fields = new long[FIELDS * MAX_WRITES];
  private int count;

  DeferredWrites(PinnedRing ring, KernelLauncher launcher, KernelModules modules) {
    this.ring = ring;
    this.launcher = launcher;
    write = modules.function("batch_arrays", "batch_arrays_write");
    launcher.beforeEach(this::flush);
  }

  /**
   * Makes room in the ring for the content of a write that {@link #add} then announces.
   *
   * @param bytes at most {@link #MAX_BYTES}, a multiple of 4
   */
  void require(long destination, int bytes) {
    // The list must fit behind: a buffer may only be left once its reads are queued.
    int withList = bytes + PinnedRing.ALIGNMENT + LIST_BYTES;
    boolean isFull = count + pieces(bytes) > MAX_WRITES || !ring.hasRoom(withList);
    if (isFull || isPending(destination)) {
      flush();
    }
    ring.require(withList);
  }

  private static int pieces(int bytes) {
    return (bytes + PIECE_BYTES - 1) / PIECE_BYTES;
  }

  private boolean isPending(long destination) {
    for (int i = 0; i < count; i++) {
      if (fields[FIELDS * i] == destination) {
        return true;
      }
    }
    return false;
  }

  /** Announces what now lies in the room. */
  void add(long destination, int bytes) {
    long source = ring.memory().address() + ring.position();
    for (int at = 0; at < bytes; at += PIECE_BYTES) {
      fields[FIELDS * count] = destination + at;
      fields[FIELDS * count + 1] = source + at;
      fields[FIELDS * count + 2] = Math.min(PIECE_BYTES, bytes - at) / 4;
      count++;
    }
    ring.advance(bytes);
  }

  /** Queues what has been gathered; to be called before anything that may read it is queued. */
  void flush() {
    if (count == 0) {
      return;
    }
    int writes = count;
    count = 0; // before launching, which flushes
    int length = FIELDS * writes;
    ring.require(Long.BYTES * length);
    MemorySegment.copy(fields, 0, ring.memory(), ValueLayout.JAVA_LONG, ring.position(), length);
    long list = ring.memory().address() + ring.position();
    ring.advance(Long.BYTES * length);
    launcher.begin().add(list).launch(write, writes, THREADS);
  }
}
