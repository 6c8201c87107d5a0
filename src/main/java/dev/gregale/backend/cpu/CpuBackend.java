package dev.gregale.backend.cpu;

import dev.gregale.backend.AttentionShape;
import dev.gregale.backend.Backend;
import dev.gregale.backend.Kernels;
import dev.gregale.backend.KvLayer;
import dev.gregale.backend.Step;
import dev.gregale.backend.Tensor;
import dev.gregale.backend.WeightRole;
import dev.gregale.tensor.DType;
import dev.gregale.tensor.HostTensor;
import dev.gregale.tensor.Shape;
import java.util.Arrays;
import java.util.SplittableRandom;

/** The model on this machine's processors, in fp32 over the weights as stored. */
public final class CpuBackend implements Backend {
  private final Kernels kernels = new ReferenceKernels();

  /** Plain loops: slow, and the oracle of every other backend. */
  public static CpuBackend reference() {
    return new CpuBackend();
  }

  @Override
  public String name() {
    return "cpu";
  }

  @Override
  public String description() {
    return "CPU, plain loops";
  }

  @Override
  public Kernels kernels() {
    return kernels;
  }

  @Override
  public DType activationDType() {
    return DType.F32;
  }

  @Override
  public DType kvCacheDType() {
    return DType.F32;
  }

  @Override
  public long freeBytes() {
    return Runtime.getRuntime().maxMemory() / 2;
  }

  @Override
  public Tensor upload(WeightRole role, HostTensor source) {
    CpuTensor tensor = CpuTensor.allocate(DType.F32, source.shape());
    float[] values = WeightReader.toFloats(source);
    write(tensor, values, values.length);
    return tensor;
  }

  @Override
  public Tensor dummy(WeightRole role, DType dtype, Shape shape, long seed) {
    float[] values = new float[Math.toIntExact(shape.numElements())];
    if (role == WeightRole.NORM) {
      Arrays.fill(values, 1);
    } else {
      SplittableRandom random = new SplittableRandom(seed);
      for (int i = 0; i < values.length; i++) {
        values[i] = (float) (0.02 * random.nextGaussian());
      }
    }
    return upload(role, HostTensor.of("dummy", shape, values));
  }

  @Override
  public Tensor allocate(DType dtype, Shape shape) {
    return CpuTensor.allocate(dtype, shape);
  }

  @Override
  public KvLayer allocateKv(int numBlocks, int blockSize, AttentionShape shape, DType dtype) {
    return ReferenceKvLayer.allocate(numBlocks, blockSize, shape);
  }

  @Override
  public void write(Tensor destination, int[] values, int count) {
    System.arraycopy(values, 0, CpuTensor.ints(destination), 0, count);
  }

  @Override
  public void write(Tensor destination, long[] values, int count) {
    System.arraycopy(values, 0, CpuTensor.longs(destination), 0, count);
  }

  @Override
  public void write(Tensor destination, float[] values, int count) {
    System.arraycopy(values, 0, CpuTensor.floats(destination), 0, count);
  }

  @Override
  public void read(Tensor source, int[] values, int count) {
    System.arraycopy(CpuTensor.ints(source), 0, values, 0, count);
  }

  @Override
  public void read(Tensor source, float[] values, int count) {
    System.arraycopy(CpuTensor.floats(source), 0, values, 0, count);
  }

  @Override
  public Step record(Runnable work) {
    return work::run;
  }

  @Override
  public void close() {}
}
