package dev.gregale.backend.cpu;

import dev.gregale.backend.AttentionShape;
import dev.gregale.backend.Kernels;
import dev.gregale.backend.KvLayer;
import dev.gregale.backend.Tensor;
import dev.gregale.backend.WeightRole;
import dev.gregale.tensor.DType;
import dev.gregale.tensor.E4M3;
import dev.gregale.tensor.HostScales;
import dev.gregale.tensor.HostTensor;
import dev.gregale.tensor.Shape;
import dev.gregale.tensor.TensorReader;
import dev.gregale.tensor.WeightScaling;
import java.lang.foreign.MemorySegment;
import java.util.Arrays;
import java.util.List;
import java.util.SplittableRandom;

/** Plain loops over dense fp32 arrays. */
final class ReferenceBackend extends CpuBackend {
  private static final double DUMMY_DEVIATION = 0.02;
  private static final float CODE_SCALE = 0x1p-6f; // of dummy weights
  private final Kernels kernels = new ReferenceKernels();

  @Override
  public String description() {
    return "CPU, plain loops";
  }

  @Override
  public Kernels kernels() {
    return kernels;
  }

  @Override
  public long freeBytes() {
    return Runtime.getRuntime().maxMemory() / 2;
  }

  @Override
  public Tensor upload(WeightRole role, HostTensor source) {
    requireRole(role, source);
    if (source.dtype() == DType.F8_E4M3) {
      return new CodedWeight(source);
    }
    CpuTensor tensor = CpuTensor.allocate(DType.F32, source.shape());
    float[] values = TensorReader.toFloats(source);
    write(tensor, values, values.length);
    return tensor;
  }

  @Override
  public Tensor dummy(WeightRole role, DType dtype, Shape shape, long seed) {
    CpuTensor tensor = CpuTensor.allocate(DType.F32, shape);
    float[] values = CpuTensor.floats(tensor);
    if (role == WeightRole.NORM) {
      Arrays.fill(values, 1);
    } else {
      SplittableRandom random = new SplittableRandom(seed);
      for (int i = 0; i < values.length; i++) {
        values[i] = (float) (DUMMY_DEVIATION * random.nextGaussian());
      }
    }
    return tensor;
  }

  @Override
  public Tensor dummy(WeightRole role, WeightScaling scaling, Shape shape, long seed) {
    byte[] codes = new byte[Math.toIntExact(shape.numElements())];
    SplittableRandom random = new SplittableRandom(seed);
    for (int i = 0; i < codes.length; i++) {
      codes[i] = E4M3.encode((float) (DUMMY_DEVIATION / CODE_SCALE * random.nextGaussian()));
    }
    int width = shape.intDim(shape.rank() - 1);
    List<Integer> parts = List.of(codes.length / width);
    return upload(
        role,
        new HostTensor(
            "dummy",
            DType.F8_E4M3,
            shape,
            List.of(MemorySegment.ofArray(codes)),
            HostScales.uniform(scaling, parts, width, CODE_SCALE)));
  }

  @Override
  public KvLayer allocateKv(int numBlocks, int blockSize, AttentionShape shape, DType dtype) {
    return ReferenceKvLayer.allocate(numBlocks, blockSize, shape, dtype);
  }

  @Override
  public void close() {}
}
