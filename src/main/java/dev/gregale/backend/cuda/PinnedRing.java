package dev.gregale.backend.cuda;

import static dev.gregale.backend.cuda.CudaErrorException.check;

import java.lang.foreign.MemorySegment;
import java.nio.ByteOrder;
import jcuda.Pointer;
import jcuda.driver.CUevent;
import jcuda.driver.CUevent_flags;
import jcuda.driver.JCudaDriver;

/**
 * Page-locked host memory that copies to and from the device go through: such copies run at the
 * bus's full speed and without the host waiting. Copies to the device take turns over a few
 * buffers; a buffer is written again once the copies out of it are done.
 */
final class PinnedRing implements AutoCloseable {
  /** Bytes of one buffer, and so of one copy at most. */
  static final int BUFFER_BYTES = 16 << 20;

  private static final int NUM_BUFFERS = 4;

  /** Bytes that every room starts at a multiple of. */
  static final int ALIGNMENT = 16;

  private final CudaContext context;
  private final Buffer[] buffers = new Buffer[NUM_BUFFERS];
  private final Buffer incoming;
  private int current;
  private int used;

  /** One page-locked piece, and when the copies out of it are done. */
  private static final class Buffer {
    final Pointer pointer = new Pointer();
    final CUevent copied = new CUevent();
    final MemorySegment memory;

    Buffer() {
      check(
          JCudaDriver.cuMemHostAlloc(pointer, BUFFER_BYTES, 0),
          "allocating %d bytes of page-locked host memory".formatted(BUFFER_BYTES));
      check(
          JCudaDriver.cuEventCreate(copied, CUevent_flags.CU_EVENT_DISABLE_TIMING),
          "making an event");
      memory =
          MemorySegment.ofBuffer(
              pointer.getByteBuffer(0, BUFFER_BYTES).order(ByteOrder.nativeOrder()));
    }

    void free() {
      JCudaDriver.cuEventDestroy(copied);
      JCudaDriver.cuMemFreeHost(pointer);
    }
  }

  PinnedRing(CudaContext context) {
    this.context = context;
    for (int i = 0; i < NUM_BUFFERS; i++) {
      buffers[i] = new Buffer();
    }
    incoming = new Buffer();
  }

  /** Whether that many bytes fit the current buffer, so that {@link #require} stays within it. */
  boolean hasRoom(int bytes) {
    return used + bytes <= BUFFER_BYTES;
  }

  /**
   * Makes room for what the next {@link #copyToDevice} takes, in {@link #memory} from {@link
   * #position} on. (A slice would be an object for every array of every step.)
   *
   * @param bytes at most {@link #BUFFER_BYTES}
   */
  void require(int bytes) {
    if (used + bytes > BUFFER_BYTES) {
      check(
          JCudaDriver.cuEventRecord(buffers[current].copied, context.stream()),
          "recording an event");
      current = (current + 1) % NUM_BUFFERS;
      used = 0;
      // An event that was never recorded counts as done.
      context.await(buffers[current].copied);
    }
  }

  /** The current buffer. */
  MemorySegment memory() {
    return buffers[current].memory;
  }

  /** Where in the buffer the room begins. */
  int position() {
    return used;
  }

  /** {@link #require}, as a segment of its own. */
  MemorySegment room(int bytes) {
    require(bytes);
    return memory().asSlice(used, bytes);
  }

  /** Queues the copy of the room that was just written. */
  void copyToDevice(DevicePointer destination, long offset, int bytes) {
    check(
        JCudaDriver.cuMemcpyHtoDAsync(
            destination.withByteOffset(offset),
            buffers[current].pointer.withByteOffset(used),
            bytes,
            context.stream()),
        "copying to the device");
    advance(bytes);
  }

  /**
   * Leaves the room that was just written to whoever reads it; all such reads must be queued before
   * the next {@link #require} that does not fit the buffer.
   */
  void advance(int bytes) {
    used += (bytes + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
  }

  /**
   * Waits for all that was queued and copies from the device.
   *
   * @param bytes at most {@link #BUFFER_BYTES}
   * @return the bytes, valid until the next call
   */
  MemorySegment copyFromDevice(DevicePointer source, long offset, int bytes) {
    check(
        JCudaDriver.cuMemcpyDtoHAsync(
            incoming.pointer, source.withByteOffset(offset), bytes, context.stream()),
        "copying from the device");
    context.synchronize();
    return incoming.memory.asSlice(0, bytes);
  }

  @Override
  public void close() {
    for (Buffer buffer : buffers) {
      buffer.free();
    }
    incoming.free();
  }
}
