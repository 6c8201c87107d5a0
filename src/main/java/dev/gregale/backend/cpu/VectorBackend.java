package dev.gregale.backend.cpu;

import dev.gregale.backend.AttentionShape;
import dev.gregale.backend.Kernels;
import dev.gregale.backend.KvLayer;
import dev.gregale.backend.SaturatedInputs;
import dev.gregale.backend.Tensor;
import dev.gregale.backend.WeightRole;
import dev.gregale.tensor.DType;
import dev.gregale.tensor.E8M0;
import dev.gregale.tensor.HostScales;
import dev.gregale.tensor.HostTensor;
import dev.gregale.tensor.Shape;
import dev.gregale.tensor.TensorReader;
import dev.gregale.tensor.WeightScaling;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.util.Arrays;

/** Vector kernels on all processors; weights and KV cache lie outside the Java heap. */
final class VectorBackend extends CpuBackend {
  private final Arena arena = Arena.ofShared();
  private final WorkerPool pool;
  private final VectorKernels kernels;

  VectorBackend(int threads) {
    pool = new WorkerPool(threads);
    kernels = new VectorKernels(pool);
  }

  @Override
  public String description() {
    return "CPU, %d threads, vectors of %d floats".formatted(pool.threads(), VectorMath.LANES);
  }

  @Override
  public Kernels kernels() {
    return kernels;
  }

  @Override
  public long freeBytes() {
    return HostMemory.available();
  }

  @Override
  public Tensor upload(WeightRole role, HostTensor source) {
    requireRole(role, source);
    return switch (role) {
      case NORM, ROPE_TABLE -> dense(source.shape(), TensorReader.toFloats(source));
      case EMBEDDING -> {
        StoredRows table = rows(source.dtype(), source.shape());
        long at = 0;
        for (MemorySegment slab : source.slabs()) {
          MemorySegment.copy(slab, 0, table.data(), at, slab.byteSize());
          at += slab.byteSize();
        }
        yield table;
      }
      case QKV, ATTENTION_OUTPUT, LINEAR, ROUTER, EXPERTS_GATE_UP, EXPERTS_DOWN -> {
        HostScales scales = source.scales();
        if (scales != null) {
          PackedMatrix coded = coded(role, scales.scaling(), source.shape());
          CodePacker.pack(pool, coded, source);
          yield coded;
        }
        PackedMatrix matrix = matrix(role, source.dtype(), source.shape());
        MatrixPacker.pack(pool, matrix, new TensorReader(source)::read);
        yield matrix;
      }
    };
  }

  @Override
  public Tensor dummy(WeightRole role, DType dtype, Shape shape, long seed) {
    return switch (role) {
      case NORM, ROPE_TABLE -> {
        float[] values = new float[Math.toIntExact(shape.numElements())];
        Arrays.fill(values, 1);
        yield dense(shape, values);
      }
      case EMBEDDING -> {
        StoredRows table = rows(DType.BF16, shape);
        DummyWeights.fill(pool, table.data(), DType.BF16, seed);
        yield table;
      }
      case QKV, ATTENTION_OUTPUT, LINEAR, ROUTER, EXPERTS_GATE_UP, EXPERTS_DOWN -> {
        PackedMatrix matrix = matrix(role, dtype, shape);
        DummyWeights.fill(pool, matrix.data(), matrix.dtype(), seed);
        yield matrix;
      }
    };
  }

  /** A panel's codes are random bits of which each byte is a number; all scales are the same. */
  @Override
  public Tensor dummy(WeightRole role, WeightScaling scaling, Shape shape, long seed) {
    PackedMatrix matrix = coded(role, scaling, shape);
    DummyWeights.fillCodes(pool, matrix.data(), seed);
    PackedScales scales = matrix.scales();
    if (scales.areExponents()) {
      scales.data().fill(E8M0.encode(DummyWeights.CODE_SCALE));
    } else {
      for (long at = 0; at < scales.data().byteSize(); at += Float.BYTES) {
        scales.data().set(ValueLayout.JAVA_FLOAT, at, DummyWeights.CODE_SCALE);
      }
    }
    return matrix;
  }

  @Override
  public SaturatedInputs saturatedInputs() {
    return kernels.saturatedInputs();
  }

  private static CpuTensor dense(Shape shape, float[] values) {
    CpuTensor tensor = CpuTensor.allocate(DType.F32, shape);
    System.arraycopy(values, 0, CpuTensor.floats(tensor), 0, values.length);
    return tensor;
  }

  private StoredRows rows(DType dtype, Shape shape) {
    long bytes = (shape.numBytes(dtype) + 63) / 64 * 64; // whole vectors
    return new StoredRows(dtype, shape, HugePages.allocate(arena, bytes));
  }

  /** fp16 is packed as fp32: bf16 has too few bits for it. */
  private PackedMatrix matrix(WeightRole role, DType dtype, Shape shape) {
    DType packed = dtype == DType.BF16 ? DType.BF16 : DType.F32;
    boolean gateUp = role == WeightRole.EXPERTS_GATE_UP;
    long bytes = PackedMatrix.bytes(packed, shape, gateUp);
    return new PackedMatrix(packed, shape, gateUp, HugePages.allocate(arena, bytes), null);
  }

  private PackedMatrix coded(WeightRole role, WeightScaling scaling, Shape shape) {
    boolean gateUp = role == WeightRole.EXPERTS_GATE_UP;
    long bytes = PackedMatrix.bytes(DType.F8_E4M3, shape, gateUp);
    int gridColumns = scaling.gridColumns(shape.dim(shape.rank() - 1));
    long panels = PackedMatrix.totalPanels(shape, gateUp);
    long scaleBytes = PackedScales.bytes(scaling, gridColumns, panels);
    return new PackedMatrix(
        DType.F8_E4M3,
        shape,
        gateUp,
        HugePages.allocate(arena, bytes),
        new PackedScales(scaling, gridColumns, HugePages.allocate(arena, scaleBytes)));
  }

  @Override
  public KvLayer allocateKv(int numBlocks, int blockSize, AttentionShape shape, DType dtype) {
    return new VectorKvLayer(arena, numBlocks, blockSize, shape, dtype);
  }

  /** Ends the threads and unmaps every weight and cache. */
  @Override
  public void close() {
    pool.close();
    if (arena.scope().isAlive()) {
      arena.close();
    }
  }
}
