package dev.gregale.backend.cuda;

import dev.gregale.backend.AttentionShape;
import dev.gregale.backend.Ceilings;
import dev.gregale.backend.Device;
import dev.gregale.backend.DeviceMemory;
import dev.gregale.backend.Kernels;
import dev.gregale.backend.KvLayer;
import dev.gregale.backend.ModelBytes;
import dev.gregale.backend.Readback;
import dev.gregale.backend.SaturatedInputs;
import dev.gregale.backend.Step;
import dev.gregale.backend.Tensor;
import dev.gregale.backend.Timeline;
import dev.gregale.backend.WeightRole;
import dev.gregale.backend.WorkspaceLimits;
import dev.gregale.tensor.DType;
import dev.gregale.tensor.HostTensor;
import dev.gregale.tensor.Shape;
import dev.gregale.tensor.WeightScaling;
import java.util.ArrayList;
import java.util.List;

/**
 * The model on one NVIDIA GPU, through the driver alone: no CUDA toolkit, cuBLAS or Python at run
 * time.
 */
public final class CudaBackend implements Device {
  private final CudaContext context;
  private final KernelModules modules;
  private final CudaMemory memory;
  private final PinnedRing ring;
  private final KernelLauncher launcher;
  private final Workspace workspace;
  private final SaturationCounts saturation;
  private final KernelChoice choice;
  private final WeightUploader uploader;
  private final DeferredWrites deferred;
  private final BatchArrays arrays;
  private final Kernels kernels;
  private final KvMemory kvMemory;
  private final List<Runnable> closing = new ArrayList<>();

  private CudaBackend(Driver driver, CudaContext context, KernelChoice.Mode mode) {
    this.context = context;
    modules = new KernelModules(context.device(), KernelLibrary.fromClassPath());
    memory = new CudaMemory(context);
    kvMemory = new KvMemory(memory);
    ring = new PinnedRing(context);
    launcher = new KernelLauncher(driver, context);
    workspace = new Workspace(context, memory);
    saturation = new SaturationCounts();
    choice = KernelChoice.of(launcher, modules, workspace, saturation, context.device(), mode);
    uploader = new WeightUploader(context, memory, ring, launcher, modules, choice);
    deferred = new DeferredWrites(ring, launcher, modules);
    arrays = new BatchArrays(ring, deferred);
    kernels = new CudaKernels(launcher, modules, choice, workspace);
  }

  /**
   * Opens a GPU and loads all kernels.
   *
   * @param ordinal as in nvidia-smi, after CUDA_VISIBLE_DEVICES
   * @param deterministic give a row the same bits in every batch, at some cost in speed
   * @throws CudaUnavailableException if that is impossible here, with the reason and what to do
   */
  public static CudaBackend open(int ordinal, boolean deterministic) {
    return open(
        ordinal, deterministic ? KernelChoice.Mode.DETERMINISTIC : KernelChoice.Mode.FASTEST);
  }

  static CudaBackend open(int ordinal, KernelChoice.Mode mode) {
    Driver driver = Driver.open();
    CudaContext context = CudaContext.open(ordinal);
    try {
      return new CudaBackend(driver, context, mode);
    } catch (RuntimeException e) {
      context.close();
      throw e;
    }
  }

  CudaRank asRank() {
    return new CudaRank(context, memory, modules, launcher);
  }

  @Override
  public String name() {
    return "cuda";
  }

  @Override
  public String description() {
    return context.device().toString();
  }

  @Override
  public Kernels kernels() {
    context.enter();
    return kernels;
  }

  @Override
  public DType activationDType() {
    return DType.BF16;
  }

  @Override
  public DType kvCacheDType() {
    return DType.BF16;
  }

  @Override
  public List<DType> kvCacheDTypes() {
    return KvMemory.DTYPES;
  }

  /** What the copies of prefill attention are largest with. */
  @Override
  public int kvBlockSize() {
    return 64;
  }

  @Override
  public long kvBlockBytes(int blockSize, AttentionShape shape, DType dtype) {
    return KvMemory.blockBytes(blockSize, shape, dtype);
  }

  @Override
  public long kvSharedBlockBytes(int blockSize, AttentionShape shape, DType dtype) {
    return KvMemory.sharedBlockBytes(blockSize, shape, dtype);
  }

  @Override
  public long freeBytes() {
    return budget(1).remaining();
  }

  /**
   * @throws CudaUnavailableException if the model alone does not fit, with the arithmetic
   */
  @Override
  public long freeBytesBeside(ModelBytes model, double utilization) {
    return budget(utilization).beside(model.total(), context.device());
  }

  private MemoryBudget budget(double utilization) {
    context.enter();
    return new MemoryBudget(
        context.device().memoryBytes(), memory.freeBytes(), memory.allocatedBytes(), utilization);
  }

  @Override
  public void reserve(WorkspaceLimits limits) {
    context.enter();
    choice.reserve(limits);
  }

  @Override
  public Tensor upload(WeightRole role, HostTensor source) {
    context.enter();
    deferred.flush();
    return uploader.upload(role, source);
  }

  @Override
  public Tensor dummy(WeightRole role, DType dtype, Shape shape, long seed) {
    context.enter();
    deferred.flush();
    return uploader.dummy(role, shape, seed);
  }

  @Override
  public Tensor dummy(WeightRole role, WeightScaling scaling, Shape shape, long seed) {
    context.enter();
    deferred.flush();
    return uploader.dummy(role, scaling, shape, seed);
  }

  @Override
  public Tensor allocate(DType dtype, Shape shape) {
    context.enter();
    DevicePointer pointer =
        memory.allocateZeroed(shape.numBytes(dtype), "array %s %s".formatted(dtype, shape));
    return new CudaTensor(dtype, shape, WeightLayout.ROW_MAJOR, pointer);
  }

  @Override
  public List<Tensor> allocateTogether(DType dtype, Shape shape, int count) {
    context.enter();
    return CudaTensor.slices(dtype, shape, count, memory);
  }

  @Override
  public KvLayer allocateKv(int numBlocks, int blockSize, AttentionShape shape, DType dtype) {
    context.enter();
    return kvMemory.allocate(numBlocks, blockSize, shape, dtype);
  }

  @Override
  public void write(Tensor destination, int[] values, int count) {
    context.enter();
    arrays.write(CudaTensor.of(destination, DType.I32, "an array of ints"), values, count);
  }

  @Override
  public void write(Tensor destination, long[] values, int count) {
    context.enter();
    arrays.write(CudaTensor.of(destination, DType.I64, "an array of longs"), values, count);
  }

  @Override
  public void write(Tensor destination, float[] values, int count) {
    context.enter();
    arrays.write(CudaTensor.of(destination), values, count);
  }

  @Override
  public void read(Tensor source, int[] values, int count) {
    context.enter();
    arrays.read(CudaTensor.of(source, DType.I32, "an array of ints"), values, count);
  }

  @Override
  public void read(Tensor source, float[] values, int count) {
    context.enter();
    arrays.read(CudaTensor.of(source), values, count);
  }

  @Override
  public Readback readback(List<Tensor> together) {
    context.enter();
    CudaReadback readback =
        new CudaReadback(context, deferred, together.stream().map(CudaTensor::of).toList());
    closing.add(readback::close);
    return readback;
  }

  @Override
  public Timeline timeline() {
    CudaTimeline timeline = new CudaTimeline(context);
    closing.add(timeline::close);
    return timeline;
  }

  @Override
  public Ceilings measureCeilings() {
    context.enter();
    return new CeilingProbe(context, memory, launcher, modules, uploader, kernels).measure();
  }

  @Override
  public boolean isAsynchronous() {
    return true;
  }

  @Override
  public int recordedRows(int numSeqs) {
    return CudaGraphStep.rowsFor(numSeqs);
  }

  @Override
  public Step record(Runnable work) {
    context.enter();
    deferred.flush(); // or it would become part of the graph
    CudaGraphStep step = CudaGraphStep.capture(context, deferred, work);
    workspace.recorded();
    closing.add(step::destroy);
    return step;
  }

  @Override
  public DeviceMemory deviceMemory() {
    return new DeviceMemory(memory.allocatedBytes(), context.device().memoryBytes());
  }

  @Override
  public SaturatedInputs saturatedInputs() {
    return saturation.sum();
  }

  /** Frees all device and page-locked memory. */
  @Override
  public void close() {
    if (context.isLost()) {
      return; // it would wait for ever; the end of the process frees all
    }
    context.enter();
    closing.forEach(Runnable::run);
    memory.close();
    saturation.close();
    ring.close();
    modules.close();
    launcher.close();
    context.close();
  }
}
