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

  /** The address of a norm's gain in bf16, behind that in fp32. */
  long bf16Gain() {
    if (layout != WeightLayout.GAIN) {
      throw new IllegalArgumentException("an array of shape " + shape + " is no norm's gain");
    }
    return address() + shape.numBytes(DType.F32);
  }

  long address() {
    return pointer.address();
  }
}
