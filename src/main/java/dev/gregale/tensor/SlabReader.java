package dev.gregale.tensor;

import java.lang.foreign.MemorySegment;
import java.util.List;

/**
 * Cuts elements out of a tensor that lies in several slabs, in place; quick if in ascending order.
 */
public final class SlabReader {
  private final List<MemorySegment> slabs;
  private final int elementBytes;
  private int slab;
  private long slabStart; // of the current slab, in bytes of the tensor
  private long position; // in bytes of the tensor

  /**
   * @param slabs of the tensor, first to last
   */
  public SlabReader(List<MemorySegment> slabs, int elementBytes) {
    this.slabs = slabs;
    this.elementBytes = elementBytes;
  }

  /** Goes on at that element. */
  public SlabReader at(long element) {
    position = element * elementBytes;
    if (position < slabStart) {
      slab = 0;
      slabStart = 0;
    }
    return this;
  }

  /** Appends the next elements to a list of slabs. */
  public void take(long elements, List<MemorySegment> into) {
    long end = position + elements * elementBytes;
    while (position < end) {
      MemorySegment current = slabs.get(slab);
      long offset = position - slabStart;
      if (offset >= current.byteSize()) {
        slabStart += current.byteSize();
        slab++;
        continue;
      }
      long bytes = Math.min(end - position, current.byteSize() - offset);
      into.add(current.asSlice(offset, bytes));
      position += bytes;
    }
  }
}
