package dev.gregale.convert;

import dev.gregale.tensor.DType;

/** Types that weights are cast to, under the names that users give. */
public enum WeightType {
  BF16(DType.BF16),
  FP16(DType.F16),
  FP32(DType.F32);

  private final DType dtype;

  WeightType(DType dtype) {
    this.dtype = dtype;
  }

  public DType dtype() {
    return dtype;
  }
}
