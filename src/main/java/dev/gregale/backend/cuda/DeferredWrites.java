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
  static final int MAX_BYTES = 64 << 10;

  private static final int MAX_WRITES = 64;
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
   * Room for the content of a write that {@link #add} then announces.
   *
   * @param bytes at most {@link #MAX_BYTES}, a multiple of 4
   */
  MemorySegment room(long destination, int bytes) {
    // The list must fit behind: a buffer may only be left once its reads are queued.
    boolean isFull =
        count == MAX_WRITES || !ring.hasRoom(bytes + PinnedRing.ALIGNMENT + LIST_BYTES);
    if (isFull || isPending(destination)) {
      flush();
    }
    return ring.room(bytes);
  }

  private boolean isPending(long destination) {
    for (int i = 0; i < count; i++) {
      if (fields[FIELDS * i] == destination) {
        return true;
      }
    }
    return false;
  }

  void add(long destination, MemorySegment room) {
    fields[FIELDS * count] = destination;
    fields[FIELDS * count + 1] = room.address();
    fields[FIELDS * count + 2] = room.byteSize() / 4;
    count++;
    ring.advance((int) room.byteSize());
  }

  /** Queues what has been gathered; to be called before anything that may read it is queued. */
  void flush() {
    if (count == 0) {
      return;
    }
    int writes = count;
    count = 0; // before launching, which flushes
    int length = FIELDS * writes;
    MemorySegment list = ring.room(Long.BYTES * length);
    MemorySegment.copy(fields, 0, list, ValueLayout.JAVA_LONG, 0, length);
    ring.advance(Long.BYTES * length);
    launcher.begin().add(list.address()).launch(write, writes, THREADS);
  }
}
