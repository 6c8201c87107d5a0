package dev.gregale.checkpoint;

import dev.gregale.tensor.HostTensor;
import java.lang.foreign.MemorySegment;
import java.util.Iterator;
import java.util.List;

/** Cuts a tensor's elements into slabs, first to last. */
public final class SlabReader {
  private final Iterator<MemorySegment> slabs;
  private final int elementBytes;
  private MemorySegment rest = MemorySegment.NULL;

  public SlabReader(HostTensor tensor) {
    this.slabs = tensor.slabs().iterator();
    this.elementBytes = tensor.dtype().bytes();
  }

  /** Appends the next elements to a list of slabs. */
  public void take(long elements, List<MemorySegment> into) {
    long bytes = elements * elementBytes;
    while (bytes > 0) {
      while (rest.byteSize() == 0) {
        rest = slabs.next();
      }
      long count = Math.min(bytes, rest.byteSize());
      into.add(rest.asSlice(0, count));
      rest = rest.asSlice(count);
      bytes -= count;
    }
  }
}
