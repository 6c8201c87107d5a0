package dev.gregale.tensor;

import java.util.Arrays;

/** The lengths of a tensor's axes, outermost first; an empty shape is a scalar. Immutable. */
public final class Shape {
  private final long[] dims;
  private final long numElements;

  private Shape(long[] dims) {
    long product = 1;
    for (long dim : dims) {
      if (dim < 0) {
        throw new IllegalArgumentException("negative length in shape " + Arrays.toString(dims));
      }
      product = Math.multiplyExact(product, dim);
    }
    this.dims = dims;
    this.numElements = product;
  }

  /**
   * @throws IllegalArgumentException if a length is negative
   * @throws ArithmeticException if the number of elements overflows a long
   */
  public static Shape of(long... dims) {
    return new Shape(dims.clone());
  }

  public int rank() {
    return dims.length;
  }

  public long dim(int axis) {
    return dims[axis];
  }

  /** The same as {@link #dim} for lengths that must fit an int. */
  public int intDim(int axis) {
    return Math.toIntExact(dims[axis]);
  }

  /**
   * The same but for the first length: of so many experts, say. Of a scalar, a vector.
   *
   * @throws ArithmeticException if the number of elements overflows a long
   */
  public Shape withFirst(long length) {
    long[] changed = Arrays.copyOf(dims, Math.max(1, dims.length));
    changed[0] = length;
    return new Shape(changed);
  }

  public long numElements() {
    return numElements;
  }

  /** Bytes of a dense tensor of this shape. */
  public long numBytes(DType dtype) {
    return Math.multiplyExact(numElements, (long) dtype.bytes());
  }

  @Override
  public boolean equals(Object other) {
    return other instanceof Shape shape && Arrays.equals(dims, shape.dims);
  }

  @Override
  public int hashCode() {
    return Arrays.hashCode(dims);
  }

  /** As in {@code [8, 14336, 4096]}. */
  @Override
  public String toString() {
    return Arrays.toString(dims);
  }
}
