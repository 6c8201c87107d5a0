package dev.gregale.backend.cuda;

import static dev.gregale.backend.cuda.CudaErrorException.check;

import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.concurrent.atomic.AtomicBoolean;
import java.util.concurrent.locks.LockSupport;
import jcuda.driver.CUcontext;
import jcuda.driver.CUdevice;
import jcuda.driver.CUdevice_attribute;
import jcuda.driver.CUevent;
import jcuda.driver.CUresult;
import jcuda.driver.CUstream;
import jcuda.driver.CUstream_flags;
import jcuda.driver.JCudaDriver;
import org.jspecify.annotations.Nullable;

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

  private static final long POLL_NANOS = 20_000; // a step takes a hundred times as long

  private final CUdevice cuDevice;
  private final CUcontext context = new CUcontext();
  private final Stream stream = new Stream();
  private final CudaDevice device;
  private @Nullable Dependence dependence;

  private CudaContext(int ordinal) {
    cuDevice = new CUdevice();
    check(JCudaDriver.cuInit(0), "cuInit");
    check(JCudaDriver.cuDeviceGet(cuDevice, ordinal), "opening GPU " + ordinal);
    device = describe(ordinal, cuDevice);
    device.requireSupported();
    check(JCudaDriver.cuDevicePrimaryCtxRetain(context, cuDevice), "making a context on " + device);
    enter();
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

  /**
   * Contexts whose work waits for each other's.
   *
   * @param timeout of the host's waits for any of them: longer than any step, and than the waits
   *     within one
   * @param isLost whether one has not ended its work in time
   */
  record Dependence(Duration timeout, AtomicBoolean isLost) {}

  /** From now on what is queued here waits for other contexts' work. */
  void depend(Dependence on) {
    dependence = on;
  }

  /** Makes the context current on this thread, which may have used another's since. */
  void enter() {
    check(JCudaDriver.cuCtxSetCurrent(context), "cuCtxSetCurrent");
  }

  /** Whether kernels here can be given addresses of another context's memory. */
  boolean reaches(CudaContext other) {
    int[] can = new int[1];
    check(
        JCudaDriver.cuDeviceCanAccessPeer(can, cuDevice, other.cuDevice),
        "asking %s for its peers".formatted(device));
    return can[0] != 0;
  }

  /** Lets kernels here be given addresses of another context's memory. */
  void reach(CudaContext other) {
    enter();
    int code = JCudaDriver.cuCtxEnablePeerAccess(other.context, 0);
    if (code != CUresult.CUDA_ERROR_PEER_ACCESS_ALREADY_ENABLED) {
      check(code, "giving %s access to %s".formatted(device, other.device));
    }
  }

  /** Waits for what was queued before an event; a kernel's fault shows here. Allocates nothing. */
  void await(CUevent event) {
    waitFor(event, "waiting for a step");
  }

  /** Waits for all that was queued. */
  void synchronize() {
    waitFor(null, "waiting for the stream");
  }

  private void waitFor(@Nullable CUevent event, String what) {
    if (dependence == null) {
      check(
          event == null
              ? JCudaDriver.cuStreamSynchronize(stream)
              : JCudaDriver.cuEventSynchronize(event),
          what);
      return;
    }
    long start = System.nanoTime();
    int code = query(event);
    while (code == CUresult.CUDA_ERROR_NOT_READY) {
      pause(dependence, start);
      code = query(event);
    }
    check(code, what);
  }

  private int query(@Nullable CUevent event) {
    return event == null ? JCudaDriver.cuStreamQuery(stream) : JCudaDriver.cuEventQuery(event);
  }

  /** Of contexts that wait for each other one may never get there, so that wait has an end. */
  private void pause(Dependence on, long start) {
    if (System.nanoTime() - start > on.timeout().toNanos()) {
      on.isLost().set(true);
      throw new RankFailureException(
          "%s has not ended its work after %s s"
              .formatted(device, on.timeout().toMillis() / 1000.0));
    }
    LockSupport.parkNanos(POLL_NANOS);
  }

  /** No more waits for this, nor for those that it depends on. */
  void giveUp() {
    if (dependence != null) {
      dependence.isLost().set(true);
    }
  }

  /** Whether this or one that it depends on is late for good: further calls may never return. */
  boolean isLost() {
    return dependence != null && dependence.isLost().get();
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

  @Override
  public void close() {
    enter();
    // Errors are left alone: after a fault nothing else can be done with the context.
    JCudaDriver.cuStreamDestroy(stream);
    JCudaDriver.cuDevicePrimaryCtxRelease(cuDevice);
  }
}
