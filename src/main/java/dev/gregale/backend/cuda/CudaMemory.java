package dev.gregale.backend.cuda;

import static dev.gregale.backend.cuda.CudaErrorException.check;

import java.util.HashMap;
import java.util.Map;
import jcuda.driver.CUresult;
import jcuda.driver.JCudaDriver;

/** Device memory of this process, with its accounts. */
final class CudaMemory implements AutoCloseable {
  private final CudaContext context;
  private final Map<DevicePointer, Long> sizes = new HashMap<>();
  private volatile long allocatedBytes; // written by one thread, read by metrics

  CudaMemory(CudaContext context) {
    this.context = context;
  }

  /**
   * Memory whose content is undefined.
   *
   * @param what for the message if there is not enough
   * @throws CudaUnavailableException if there is not enough, with the arithmetic
   */
  DevicePointer allocate(long bytes, String what) {
    DevicePointer pointer = new DevicePointer();
    long size = Math.max(bytes, 16); // an empty array has an address too
    int code = JCudaDriver.cuMemAlloc(pointer, size);
    if (code == CUresult.CUDA_ERROR_OUT_OF_MEMORY) {
      throw new CudaUnavailableException(
          "%s needs %s, but of the %s of %s only %s are free: %s hold this model's arrays, %s others"
              .formatted(
                  what,
                  Bytes.gib(size),
                  Bytes.gib(context.device().memoryBytes()),
                  context.device().name(),
                  Bytes.gib(freeBytes()),
                  Bytes.gib(allocatedBytes),
                  Bytes.gib(context.device().memoryBytes() - freeBytes() - allocatedBytes)),
          "take a smaller model, fewer or shorter sequences, or a GPU with more memory");
    }
    check(code, "allocating %d bytes for %s".formatted(size, what));
    sizes.put(pointer, size);
    allocatedBytes += size;
    return pointer;
  }

  DevicePointer allocateZeroed(long bytes, String what) {
    DevicePointer pointer = allocate(bytes, what);
    check(
        JCudaDriver.cuMemsetD8Async(pointer, (byte) 0, Math.max(bytes, 16), context.stream()),
        "zeroing " + what);
    return pointer;
  }

  void free(DevicePointer pointer) {
    Long size = sizes.remove(pointer);
    if (size != null) {
      allocatedBytes -= size;
      check(JCudaDriver.cuMemFree(pointer), "freeing device memory");
    }
  }

  /** What this process has taken here. */
  long allocatedBytes() {
    return allocatedBytes;
  }

  /** What the driver would still give out. */
  long freeBytes() {
    long[] free = new long[1];
    check(JCudaDriver.cuMemGetInfo(free, new long[1]), "cuMemGetInfo");
    return free[0];
  }

  @Override
  public void close() {
    sizes.keySet().forEach(JCudaDriver::cuMemFree); // errors after a fault cannot be helped
    sizes.clear();
    allocatedBytes = 0;
  }
}
