package dev.gregale.backend.cuda;

import static dev.gregale.backend.cuda.CudaErrorException.check;

import dev.gregale.backend.Readback;
import dev.gregale.tensor.DType;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.nio.ByteOrder;
import java.util.List;
import jcuda.Pointer;
import jcuda.driver.CUDA_MEMCPY2D;
import jcuda.driver.CUevent;
import jcuda.driver.CUevent_flags;
import jcuda.driver.CUmemorytype;
import jcuda.driver.JCudaDriver;

/** Page-locked memory of its own for what is copied, and an event behind the copy. */
final class CudaReadback implements Readback, AutoCloseable {
  private final CudaContext context;
  private final DeferredWrites deferred;
  private final List<CudaTensor> sources;
  private final Pointer pinned = new Pointer();
  private final CUevent copied = new CUevent();
  private final CUDA_MEMCPY2D packing = new CUDA_MEMCPY2D();
  private final MemorySegment memory;
  private int count;

  /**
   * @param sources int32 or fp32, of one shape and at equal distances, small enough for page-locked
   *     memory of their size
   */
  CudaReadback(CudaContext context, DeferredWrites deferred, List<CudaTensor> sources) {
    this.context = context;
    this.deferred = deferred;
    this.sources = sources;
    CudaTensor first = sources.getFirst();
    long bytes = sources.size() * first.shape().numBytes(first.dtype());
    check(
        JCudaDriver.cuMemHostAlloc(pinned, bytes, 0),
        "allocating %d bytes of page-locked host memory".formatted(bytes));
    check(JCudaDriver.cuEventCreate(copied, CUevent_flags.CU_EVENT_DISABLE_TIMING), "an event");
    memory = MemorySegment.ofBuffer(pinned.getByteBuffer(0, bytes).order(ByteOrder.nativeOrder()));
  }

  @Override
  public void start(int count) {
    context.enter();
    deferred.flush();
    this.count = count;
    CudaTensor first = sources.getFirst();
    long bytes = (long) count * first.dtype().bytes();
    check(
        sources.size() == 1
            ? JCudaDriver.cuMemcpyDtoHAsync(pinned, first.pointer(), bytes, context.stream())
            : JCudaDriver.cuMemcpy2DAsync(packing(bytes), context.stream()),
        "copying from the device");
    check(JCudaDriver.cuEventRecord(copied, context.stream()), "recording an event");
  }

  /** Of each array so many bytes, one behind the other on the host. */
  private CUDA_MEMCPY2D packing(long bytes) {
    packing.srcMemoryType = CUmemorytype.CU_MEMORYTYPE_DEVICE;
    packing.srcDevice = sources.getFirst().pointer();
    packing.srcPitch = sources.get(1).address() - sources.getFirst().address();
    packing.dstMemoryType = CUmemorytype.CU_MEMORYTYPE_HOST;
    packing.dstHost = pinned;
    packing.dstPitch = bytes;
    packing.WidthInBytes = bytes;
    packing.Height = sources.size();
    return packing;
  }

  @Override
  public void finish(int[] values) {
    await(DType.I32);
    MemorySegment.copy(memory, ValueLayout.JAVA_INT, 0, values, 0, sources.size() * count);
  }

  @Override
  public void finish(float[] values) {
    await(DType.F32);
    MemorySegment.copy(memory, ValueLayout.JAVA_FLOAT, 0, values, 0, sources.size() * count);
  }

  private void await(DType asked) {
    DType found = sources.getFirst().dtype();
    if (found != asked) {
      throw new IllegalArgumentException("%s is asked of an array of %s".formatted(asked, found));
    }
    context.enter();
    context.await(copied);
  }

  @Override
  public void close() {
    JCudaDriver.cuEventDestroy(copied);
    JCudaDriver.cuMemFreeHost(pinned);
  }
}
