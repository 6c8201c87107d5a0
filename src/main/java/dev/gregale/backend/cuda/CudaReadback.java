package dev.gregale.backend.cuda;

import static dev.gregale.backend.cuda.CudaErrorException.check;

import dev.gregale.backend.Readback;
import dev.gregale.tensor.DType;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.nio.ByteOrder;
import jcuda.Pointer;
import jcuda.driver.CUevent;
import jcuda.driver.CUevent_flags;
import jcuda.driver.JCudaDriver;

/** Page-locked memory of its own for one array, and an event behind the copy. */
final class CudaReadback implements Readback, AutoCloseable {
  private final CudaContext context;
  private final DeferredWrites deferred;
  private final CudaTensor source;
  private final Pointer pinned = new Pointer();
  private final CUevent copied = new CUevent();
  private final MemorySegment memory;
  private int count;

  /**
   * @param source int32 or fp32, small enough for page-locked memory of its size
   */
  CudaReadback(CudaContext context, DeferredWrites deferred, CudaTensor source) {
    this.context = context;
    this.deferred = deferred;
    this.source = source;
    long bytes = source.shape().numBytes(source.dtype());
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
    check(
        JCudaDriver.cuMemcpyDtoHAsync(
            pinned, source.pointer(), (long) count * source.dtype().bytes(), context.stream()),
        "copying from the device");
    check(JCudaDriver.cuEventRecord(copied, context.stream()), "recording an event");
  }

  @Override
  public void finish(int[] values) {
    await(DType.I32);
    MemorySegment.copy(memory, ValueLayout.JAVA_INT, 0, values, 0, count);
  }

  @Override
  public void finish(float[] values) {
    await(DType.F32);
    MemorySegment.copy(memory, ValueLayout.JAVA_FLOAT, 0, values, 0, count);
  }

  private void await(DType asked) {
    if (source.dtype() != asked) {
      throw new IllegalArgumentException(
          "%s is asked of an array of %s".formatted(asked, source.dtype()));
    }
    context.enter();
    check(JCudaDriver.cuEventSynchronize(copied), "waiting for a step");
  }

  @Override
  public void close() {
    JCudaDriver.cuEventDestroy(copied);
    JCudaDriver.cuMemFreeHost(pinned);
  }
}
