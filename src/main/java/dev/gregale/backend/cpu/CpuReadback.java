package dev.gregale.backend.cpu;

import dev.gregale.backend.Readback;
import dev.gregale.backend.Tensor;
import dev.gregale.tensor.DType;

/** A copy that is made at once: ops have run when they return. */
final class CpuReadback implements Readback {
  private final CpuTensor source;
  private final CpuTensor copy;
  private int count;

  CpuReadback(Tensor source) {
    this.source = (CpuTensor) source;
    copy = CpuTensor.allocate(source.dtype(), source.shape());
  }

  @Override
  public void start(int count) {
    this.count = count;
    if (source.dtype() == DType.I32) {
      System.arraycopy(CpuTensor.ints(source), 0, CpuTensor.ints(copy), 0, count);
    } else {
      System.arraycopy(CpuTensor.floats(source), 0, CpuTensor.floats(copy), 0, count);
    }
  }

  @Override
  public void finish(int[] values) {
    System.arraycopy(CpuTensor.ints(copy), 0, values, 0, count);
  }

  @Override
  public void finish(float[] values) {
    System.arraycopy(CpuTensor.floats(copy), 0, values, 0, count);
  }
}
