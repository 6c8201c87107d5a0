package dev.gregale.backend.cpu;

import dev.gregale.tensor.HostTensor;
import java.lang.foreign.MemorySegment;
import java.util.List;

/** Random access to a tensor that lies in several slabs. */
final class SlabRows {
  private final HostTensor tensor;
  private final List<MemorySegment> slabs;
  private final long[] starts; // first element of each slab
  private final long width;

  SlabRows(HostTensor tensor) {
    this.tensor = tensor;
    this.slabs = tensor.slabs();
    this.starts = new long[slabs.size() + 1];
    for (int i = 0; i < slabs.size(); i++) {
      starts[i + 1] = starts[i] + slabs.get(i).byteSize() / tensor.dtype().bytes();
    }
    this.width = tensor.shape().dim(tensor.shape().rank() - 1);
  }

  /** See {@link MatrixPacker.Source}. */
  void read(long row, int from, int count, float[] values) {
    long first = row * width + from;
    int slab = slabOf(first);
    for (int i = 0; i < count; i++) {
      while (first + i >= starts[slab + 1]) {
        slab++;
      }
      values[i] = WeightReader.read(slabs.get(slab), tensor.dtype(), first + i - starts[slab]);
    }
  }

  private int slabOf(long element) {
    int low = 0;
    int high = slabs.size();
    while (high - low > 1) {
      int middle = (low + high) >>> 1;
      if (starts[middle] <= element) {
        low = middle;
      } else {
        high = middle;
      }
    }
    return low;
  }
}
