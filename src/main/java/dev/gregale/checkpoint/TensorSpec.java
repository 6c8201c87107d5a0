package dev.gregale.checkpoint;

import dev.gregale.tensor.DType;
import dev.gregale.tensor.Shape;

/** What a file says of a tensor, beside where it lies. */
public record TensorSpec(String name, DType dtype, Shape shape) {

  /** Of its data. */
  public long bytes() {
    return shape.numBytes(dtype);
  }
}
