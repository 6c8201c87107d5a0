package dev.gregale.backend.parallel;

import dev.gregale.backend.Tensor;
import dev.gregale.tensor.DType;
import dev.gregale.tensor.Shape;
import java.util.List;

/**
 * One tensor on all ranks.
 *
 * @param shape of the whole
 * @param parts each rank's: the same everywhere, or its share
 */
record RankTensor(DType dtype, Shape shape, List<Tensor> parts) implements Tensor {

  RankTensor {
    parts = List.copyOf(parts);
  }

  /** Of all ranks together. */
  @Override
  public long numBytes() {
    return parts.stream().mapToLong(Tensor::numBytes).sum();
  }

  static RankTensor of(Tensor tensor) {
    return (RankTensor) tensor;
  }

  static Tensor part(Tensor tensor, int rank) {
    return of(tensor).parts.get(rank);
  }
}
