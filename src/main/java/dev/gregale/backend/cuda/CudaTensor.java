package dev.gregale.backend.cuda;

import dev.gregale.backend.Tensor;
import dev.gregale.tensor.DType;
import dev.gregale.tensor.InputScaling;
import dev.gregale.tensor.Shape;
import java.util.ArrayList;
import java.util.List;
import org.jspecify.annotations.Nullable;

/**
 * An array in device memory.
 *
 * @param layout what kernels must know beside dtype and shape to read it
 * @param scales of tiled F8_E4M3 codes; null for everything else
 * @param inputs what a weight that was quantised wants of a product's inputs, else null
 */
record CudaTensor(
    DType dtype,
    Shape shape,
    WeightLayout layout,
    DevicePointer pointer,
    @Nullable CodeScales scales,
    @Nullable InputScaling inputs)
    implements Tensor {
  private static final long SLICE_ALIGNMENT = 256;

  CudaTensor(DType dtype, Shape shape, WeightLayout layout, DevicePointer pointer) {
    this(dtype, shape, layout, pointer, null, null);
  }

  /** Zeroed slices of one array, aligned as allocations are. */
  static List<Tensor> slices(DType dtype, Shape shape, int count, CudaMemory memory) {
    long stride = Math.ceilDiv(shape.numBytes(dtype), SLICE_ALIGNMENT) * SLICE_ALIGNMENT;
    DevicePointer base =
        memory.allocateZeroed(count * stride, "%d arrays %s %s".formatted(count, dtype, shape));
    List<Tensor> slices = new ArrayList<>();
    for (int i = 0; i < count; i++) {
      slices.add(new CudaTensor(dtype, shape, WeightLayout.ROW_MAJOR, base.plus(i * stride)));
    }
    return List.copyOf(slices);
  }

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

  /** A weight, which is kept in bf16 or as codes. */
  static CudaTensor weight(Tensor tensor, String what) {
    CudaTensor found = (CudaTensor) tensor;
    return found.scales() != null ? found : of(tensor, DType.BF16, what);
  }

  /** The same, with what it wants of inputs. */
  CudaTensor with(InputScaling wanted) {
    return new CudaTensor(dtype, shape, layout, pointer, scales, wanted);
  }

  /** What a tiled weight's elements are. */
  WeightFormat format() {
    return scales == null ? WeightFormat.BF16 : scales.format();
  }

  /** Whether products must quantise their inputs, however few rows they have. */
  boolean alwaysQuantizesInputs() {
    return inputs != null && inputs.when() == InputScaling.When.ALWAYS;
  }

  @Override
  public long numBytes() {
    return scales == null ? shape.numBytes(dtype) : scales.bytes();
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
