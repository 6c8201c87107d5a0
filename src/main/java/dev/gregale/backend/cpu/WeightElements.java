package dev.gregale.backend.cpu;

import dev.gregale.backend.Tensor;

/** The elements of a weight, {@code [rows, M]} with all axes but the last in one. */
@FunctionalInterface
interface WeightElements {
  float at(int row, int column);

  /** Of a dense fp32 weight, or a quantised one. */
  static WeightElements of(Tensor weight) {
    if (weight instanceof CodedWeight coded) {
      return coded;
    }
    float[] values = CpuTensor.floats(weight);
    int width = weight.shape().intDim(weight.shape().rank() - 1);
    return (row, column) -> values[row * width + column];
  }
}
