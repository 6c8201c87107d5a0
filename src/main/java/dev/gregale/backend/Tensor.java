package dev.gregale.backend;

import dev.gregale.tensor.DType;
import dev.gregale.tensor.Shape;

/**
 * An opaque handle to an array that a backend owns. Only the backend that made it knows where and
 * in what layout its bytes lie; the model knows its logical shape.
 */
public interface Tensor {

  /** Element type as stored; F8_E4M3 of a quantised weight, whose scales its backend keeps. */
  DType dtype();

  /** Logical lengths, outermost first. */
  Shape shape();

  /** What it takes on its backend, scales and padding included. */
  default long numBytes() {
    return shape().numBytes(dtype());
  }
}
