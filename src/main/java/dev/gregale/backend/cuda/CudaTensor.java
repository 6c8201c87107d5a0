package dev.gregale.backend.cuda;

import dev.gregale.backend.Tensor;
import dev.gregale.tensor.DType;
import dev.gregale.tensor.Shape;

/**
 * An array in device memory.
 *
 * @param layout what kernels must know beside dtype and shape to read it
 */
record CudaTensor(DType dtype, Shape shape, WeightLayout layout, DevicePointer pointer)
    implements Tensor {

  static CudaTensor of(Tensor tensor) {
    return (CudaTensor) tensor;
  }

  /** The tensor, which an op needs in that element type. */
  static CudaTensor of(Tensor tensor, DType dtype, String what) {
    CudaTensor found = (CudaTensor) tensor;
    if (found.dtype() != dtype) {
      throw new IllegalArgumentException(
          "%s must be %s, found %s %s".formatted(what, dtype, found.dtype(), found.shape()));
    }
    return found;
  }

  long address() {
    return pointer.address();
  }
}
