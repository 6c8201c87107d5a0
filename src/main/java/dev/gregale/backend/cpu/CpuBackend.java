package dev.gregale.backend.cpu;

import dev.gregale.backend.Device;
import dev.gregale.backend.Readback;
import dev.gregale.backend.Step;
import dev.gregale.backend.Tensor;
import dev.gregale.backend.Timeline;
import dev.gregale.backend.WeightRole;
import dev.gregale.tensor.DType;
import dev.gregale.tensor.HostTensor;
import dev.gregale.tensor.Shape;
import java.util.List;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/** The model on this machine's processors, in fp32 over the weights as stored. */
public abstract class CpuBackend implements Device {
  private static final Logger log = LoggerFactory.getLogger(CpuBackend.class);
  private static final String VECTOR_MODULE = "jdk.incubator.vector";

  CpuBackend() {}

  /**
   * The fastest that this JVM can run: vector kernels, or plain loops where it was started without
   * the Vector API.
   *
   * @param threads that compute, the caller's included; 0 for one per processor
   */
  public static CpuBackend create(int threads) {
    if (ModuleLayer.boot().findModule(VECTOR_MODULE).isEmpty()) {
      log.warn(
          "The Vector API is not enabled, so the CPU backend runs plain loops, many times slower;"
              + " start the JVM with --add-modules={}",
          VECTOR_MODULE);
      return reference();
    }
    return new VectorBackend(threads > 0 ? threads : Runtime.getRuntime().availableProcessors());
  }

  /** Plain loops: slow, and the oracle of every other backend. */
  public static CpuBackend reference() {
    return new ReferenceBackend();
  }

  @Override
  public String name() {
    return "cpu";
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
  public List<DType> kvCacheDTypes() {
    return List.of(DType.F32, DType.BF16, DType.F8_E4M3);
  }

  /**
   * @throws IllegalArgumentException if codes are given for what is never quantised
   */
  static void requireRole(WeightRole role, HostTensor source) {
    boolean quantisable =
        switch (role) {
          case QKV, ATTENTION_OUTPUT, LINEAR, EXPERTS_GATE_UP, EXPERTS_DOWN -> true;
          case EMBEDDING, NORM, ROUTER, ROPE_TABLE -> false;
        };
    if (source.scales() != null && !quantisable) {
      throw new IllegalArgumentException(source.name() + ": quantised, as " + role + " never is");
    }
  }

  @Override
  public Tensor allocate(DType dtype, Shape shape) {
    return CpuTensor.allocate(dtype, shape);
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
  public Readback readback(List<Tensor> together) {
    return new CpuReadback(together);
  }

  @Override
  public Timeline timeline() {
    return new CpuTimeline();
  }

  @Override
  public Step record(Runnable work) {
    return work::run;
  }
}
