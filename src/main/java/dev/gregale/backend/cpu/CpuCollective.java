package dev.gregale.backend.cpu;

import static dev.gregale.backend.cpu.CpuTensor.floats;

import dev.gregale.backend.Collective;
import dev.gregale.backend.Tensor;
import dev.gregale.tensor.DType;
import dev.gregale.tensor.Shape;
import java.util.Arrays;
import java.util.List;
import java.util.stream.Stream;

/** Ranks that run one after the other in one memory: the meaning of {@link Collective}. */
public final class CpuCollective implements Collective {
  private final int size;
  private List<Tensor> parts = List.of();

  public CpuCollective(int size) {
    this.size = size;
  }

  @Override
  public List<Tensor> allocateParts(Shape shape) {
    if (!parts.isEmpty() && parts.getFirst().shape().equals(shape)) {
      return parts;
    }
    parts =
        Stream.<Tensor>generate(() -> CpuTensor.allocate(DType.F32, shape)).limit(size).toList();
    return parts;
  }

  @Override
  public void addUp(List<Tensor> residuals, int rows) {
    float[] sum = floats(parts.getFirst());
    int count = rows * parts.getFirst().shape().intDim(1);
    for (Tensor part : parts.subList(1, size)) {
      float[] values = floats(part);
      for (int i = 0; i < count; i++) {
        sum[i] += values[i];
      }
    }
    for (Tensor residual : residuals) {
      float[] values = floats(residual);
      for (int i = 0; i < count; i++) {
        values[i] += sum[i];
      }
    }
    parts.forEach(part -> Arrays.fill(floats(part), 0, count, 0));
  }

  @Override
  public void requireHealthy() {}

  @Override
  public boolean sharesMemory() {
    return true;
  }

  @Override
  public void close() {}
}
