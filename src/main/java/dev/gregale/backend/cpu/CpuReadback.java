package dev.gregale.backend.cpu;

import dev.gregale.backend.Readback;
import dev.gregale.backend.Tensor;
import dev.gregale.tensor.DType;
import dev.gregale.tensor.Shape;
import java.util.List;

/** A copy that is made at once: ops have run when they return. */
final class CpuReadback implements Readback {
  private final List<Tensor> sources;
  private final CpuTensor copy;
  private int count;

  /**
   * @param sources of one type and shape
   */
  CpuReadback(List<Tensor> sources) {
    this.sources = sources;
    Tensor first = sources.getFirst();
    copy = CpuTensor.allocate(first.dtype(), Shape.of(sources.size(), first.shape().numElements()));
  }

  @Override
  public void start(int count) {
    this.count = count;
    for (int i = 0; i < sources.size(); i++) {
      if (copy.dtype() == DType.I32) {
        System.arraycopy(CpuTensor.ints(sources.get(i)), 0, CpuTensor.ints(copy), i * count, count);
      } else {
        System.arraycopy(
            CpuTensor.floats(sources.get(i)), 0, CpuTensor.floats(copy), i * count, count);
      }
    }
  }

  @Override
  public void finish(int[] values) {
    System.arraycopy(CpuTensor.ints(copy), 0, values, 0, sources.size() * count);
  }

  @Override
  public void finish(float[] values) {
    System.arraycopy(CpuTensor.floats(copy), 0, values, 0, sources.size() * count);
  }
}
