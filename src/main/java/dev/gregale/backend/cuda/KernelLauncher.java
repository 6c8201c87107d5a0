package dev.gregale.backend.cuda;

import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.util.Locale;

/**
 * Launches kernels on the context's stream: {@link #begin}, the arguments in order, {@link
 * #launch}. All native structures are made once, so that a launch allocates nothing.
 */
final class KernelLauncher implements AutoCloseable {
  private static final int MAX_ARGUMENTS = 48;
  // struct CUlaunchConfig_st of cuda.h
  private static final long CONFIG_BYTES = 56;
  private static final long BLOCK_X = 12;
  private static final long SHARED_BYTES = 24;
  private static final long STREAM = 32;
  private static final long ATTRIBUTES = 40;
  private static final long NUM_ATTRIBUTES = 48;
  // struct CUlaunchAttribute_st: id, padding, a union of 64 bytes
  private static final long ATTRIBUTE_BYTES = 72;
  private static final long ATTRIBUTE_VALUE = 8;
  private static final int PROGRAMMATIC_STREAM_SERIALIZATION = 6;

  private final Arena arena = Arena.ofShared();
  private final Driver driver;
  private final MemorySegment config = arena.allocate(CONFIG_BYTES, 8);
  private final MemorySegment arguments = arena.allocate(8L * MAX_ARGUMENTS, 8);
  private final MemorySegment pointers = arena.allocate(8L * MAX_ARGUMENTS, 8);
  private int count;
  private boolean overlapsPredecessor;
  private boolean followsWrites;
  private long launches;
  private Runnable beforeEach = () -> {};

  KernelLauncher(Driver driver, CudaContext context) {
    this.driver = driver;
    for (int i = 0; i < MAX_ARGUMENTS; i++) {
      pointers.setAtIndex(ValueLayout.JAVA_LONG, i, arguments.address() + 8L * i);
    }
    MemorySegment attribute = arena.allocate(ATTRIBUTE_BYTES, 8);
    attribute.set(ValueLayout.JAVA_INT, 0, PROGRAMMATIC_STREAM_SERIALIZATION);
    attribute.set(ValueLayout.JAVA_INT, ATTRIBUTE_VALUE, 1);
    config.set(ValueLayout.JAVA_LONG, STREAM, context.streamHandle());
    config.set(ValueLayout.JAVA_LONG, ATTRIBUTES, attribute.address());
    config.set(ValueLayout.JAVA_INT, BLOCK_X + 4, 1);
    config.set(ValueLayout.JAVA_INT, BLOCK_X + 8, 1);
  }

  /** What is to be queued before every launch. */
  void beforeEach(Runnable work) {
    beforeEach = work;
  }

  /** Starts a list of arguments. */
  KernelLauncher begin() {
    long before = launches;
    beforeEach.run();
    followsWrites = launches != before;
    count = 0;
    overlapsPredecessor = false;
    return this;
  }

  KernelLauncher add(CudaTensor tensor) {
    return add(tensor.address());
  }

  /** A tiled weight, and behind it its scales if it has any. */
  KernelLauncher addWeight(CudaTensor weight) {
    add(weight);
    CodeScales scales = weight.scales();
    return scales == null ? this : add(scales.pointer().address());
  }

  /** A 64-bit integer or an address. */
  KernelLauncher add(long value) {
    arguments.setAtIndex(ValueLayout.JAVA_LONG, count++, value);
    return this;
  }

  KernelLauncher add(int value) {
    arguments.set(ValueLayout.JAVA_INT, 8L * count++, value);
    return this;
  }

  KernelLauncher add(float value) {
    arguments.set(ValueLayout.JAVA_FLOAT, 8L * count++, value);
    return this;
  }

  /**
   * Lets the next kernel start before the one queued ahead of it has ended (programmatic dependent
   * launch). Only for kernels that wait, with griddepcontrol.wait, before they touch what others
   * write. They may read a batch's arrays earlier, so right behind those nothing overlaps.
   */
  KernelLauncher overlapping() {
    overlapsPredecessor = !followsWrites;
    return this;
  }

  /** Launches over a grid of blocks; a grid with no blocks is no launch. */
  void launch(
      KernelFunction function, int gridX, int gridY, int gridZ, int threads, int sharedBytes) {
    if (gridX == 0 || gridY == 0 || gridZ == 0) {
      return;
    }
    config.set(ValueLayout.JAVA_INT, 0, gridX);
    config.set(ValueLayout.JAVA_INT, 4, gridY);
    config.set(ValueLayout.JAVA_INT, 8, gridZ);
    config.set(ValueLayout.JAVA_INT, BLOCK_X, threads);
    config.set(ValueLayout.JAVA_INT, SHARED_BYTES, sharedBytes);
    config.set(ValueLayout.JAVA_INT, NUM_ATTRIBUTES, overlapsPredecessor ? 1 : 0);
    launches++;
    int code = driver.launch(config, function.handle(), pointers);
    if (code != 0) {
      throw new CudaErrorException(
          String.format(
              Locale.ROOT,
              "launching %s on a grid of %d x %d x %d, %d threads and %d bytes each",
              function.name(),
              gridX,
              gridY,
              gridZ,
              threads,
              sharedBytes),
          code);
    }
  }

  /** The same for a kernel without dynamic shared memory over a line of blocks. */
  void launch(KernelFunction function, int grid, int threads) {
    launch(function, grid, 1, 1, threads, 0);
  }

  @Override
  public void close() {
    arena.close();
  }
}
