package dev.gregale.backend.cuda;

import static dev.gregale.backend.cuda.CudaErrorException.check;

import java.nio.charset.StandardCharsets;
import jcuda.driver.CUcontext;
import jcuda.driver.CUdevice;
import jcuda.driver.CUdevice_attribute;
import jcuda.driver.CUstream;
import jcuda.driver.CUstream_flags;
import jcuda.driver.JCudaDriver;

/**
 * A GPU's primary context and the one stream that everything is queued on. A driver context belongs
 * to threads: {@link #enter} makes it current on whichever thread uses the backend now.
 */
final class CudaContext implements AutoCloseable {
  /** A stream whose handle can be read as a number. */
  private static final class Stream extends CUstream {
    long handle() {
      return getNativePointer();
    }
  }

  private final CUdevice cuDevice;
  private final CUcontext context = new CUcontext();
  private final Stream stream = new Stream();
  private final CudaDevice device;
  private Thread current;

  private CudaContext(int ordinal) {
    cuDevice = new CUdevice();
    check(JCudaDriver.cuInit(0), "cuInit");
    check(JCudaDriver.cuDeviceGet(cuDevice, ordinal), "opening GPU " + ordinal);
    device = describe(ordinal, cuDevice);
    device.requireSupported();
    check(JCudaDriver.cuDevicePrimaryCtxRetain(context, cuDevice), "making a context on " + device);
    current = Thread.currentThread();
    check(JCudaDriver.cuCtxSetCurrent(context), "cuCtxSetCurrent");
    check(
        JCudaDriver.cuStreamCreate(stream, CUstream_flags.CU_STREAM_NON_BLOCKING),
        "making a stream");
  }

  /**
   * @throws CudaUnavailableException if JCuda's library does not load or the GPU cannot be used
   */
  static CudaContext open(int ordinal) {
    try {
      return new CudaContext(ordinal);
    } catch (CudaErrorException e) {
      throw new CudaUnavailableException(
          String.valueOf(e.getMessage()), "see that nvidia-smi lists this GPU as free to use", e);
    } catch (LinkageError e) { // NoClassDefFoundError from the second attempt on
      throw new CudaUnavailableException(
          "JCuda's native library does not load (%s)".formatted(e.getMessage()),
          "it needs x86-64 Linux and a writable java.io.tmpdir (now %s) that allows executables"
              .formatted(System.getProperty("java.io.tmpdir")),
          e);
    }
  }

  private static CudaDevice describe(int ordinal, CUdevice cuDevice) {
    byte[] name = new byte[256];
    check(JCudaDriver.cuDeviceGetName(name, name.length, cuDevice), "cuDeviceGetName");
    int length = 0;
    while (length < name.length && name[length] != 0) {
      length++;
    }
    long[] memory = new long[1];
    check(JCudaDriver.cuDeviceTotalMem(memory, cuDevice), "cuDeviceTotalMem");
    return new CudaDevice(
        ordinal,
        new String(name, 0, length, StandardCharsets.UTF_8),
        attribute(cuDevice, CUdevice_attribute.CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR),
        attribute(cuDevice, CUdevice_attribute.CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR),
        attribute(cuDevice, CUdevice_attribute.CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT),
        memory[0]);
  }

  private static int attribute(CUdevice cuDevice, int attribute) {
    int[] value = new int[1];
    check(
        JCudaDriver.cuDeviceGetAttribute(value, attribute, cuDevice),
        "cuDeviceGetAttribute " + attribute);
    return value[0];
  }

  /** Makes the context current on this thread. */
  void enter() {
    if (current != Thread.currentThread()) {
      check(JCudaDriver.cuCtxSetCurrent(context), "cuCtxSetCurrent");
      current = Thread.currentThread();
    }
  }

  CudaDevice device() {
    return device;
  }

  CUstream stream() {
    return stream;
  }

  long streamHandle() {
    return stream.handle();
  }

  /** Waits for all that was queued; a kernel's fault shows here. */
  void synchronize() {
    check(JCudaDriver.cuStreamSynchronize(stream), "waiting for " + device.name());
  }

  @Override
  public void close() {
    enter();
    // Errors are left alone: after a fault nothing else can be done with the context.
    JCudaDriver.cuStreamDestroy(stream);
    JCudaDriver.cuDevicePrimaryCtxRelease(cuDevice);
  }
}
