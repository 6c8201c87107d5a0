package dev.gregale.backend.cpu;

import dev.gregale.backend.Tensor;
import dev.gregale.tensor.DType;
import dev.gregale.tensor.Shape;

/**
 * A dense row-major array on the Java heap: activations and batch arrays, and in the reference
 * variant the weights too. Exactly one of the three arrays exists.
 */
final class CpuTensor implements Tensor {
  private final DType dtype;
  private final Shape shape;
  private final Object array;

  private CpuTensor(DType dtype, Shape shape, Object array) {
    this.dtype = dtype;
    this.shape = shape;
    this.array = array;
  }

  /**
   * @param dtype {@code F32}, {@code I32} or {@code I64}
   */
  static CpuTensor allocate(DType dtype, Shape shape) {
    int length = Math.toIntExact(shape.numElements());
    return switch (dtype) {
      case F32 -> new CpuTensor(dtype, shape, new float[length]);
      case I32 -> new CpuTensor(dtype, shape, new int[length]);
      case I64 -> new CpuTensor(dtype, shape, new long[length]);
      default ->
          throw new IllegalArgumentException("the CPU backend keeps no " + dtype + " arrays");
    };
  }

  static float[] floats(Tensor tensor) {
    return (float[]) ((CpuTensor) tensor).array;
  }

  static int[] ints(Tensor tensor) {
    return (int[]) ((CpuTensor) tensor).array;
  }

  static long[] longs(Tensor tensor) {
    return (long[]) ((CpuTensor) tensor).array;
  }

  @Override
  public DType dtype() {
    return dtype;
  }

  @Override
  public Shape shape() {
    return shape;
  }
}
