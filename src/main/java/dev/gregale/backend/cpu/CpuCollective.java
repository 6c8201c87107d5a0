package dev.gregale.backend.cpu;

import static dev.gregale.backend.cpu.CpuTensor.floats;

import dev.gregale.backend.Collective;
import dev.gregale.backend.Tensor;
import java.util.List;

/** Ranks that run one after the other in one memory: the meaning of {@link Collective}. */
final class CpuCollective implements Collective {

  @Override
  public void allReduce(List<Tensor> parts, int rows) {
    float[] sum = floats(parts.getFirst());
    int count = rows * parts.getFirst().shape().intDim(1);
    for (Tensor part : parts.subList(1, parts.size())) {
      float[] values = floats(part);
      for (int i = 0; i < count; i++) {
        sum[i] += values[i];
      }
    }
    for (Tensor part : parts.subList(1, parts.size())) {
      System.arraycopy(sum, 0, floats(part), 0, count);
    }
  }

  @Override
  public boolean sharesMemory() {
    return true;
  }
}
