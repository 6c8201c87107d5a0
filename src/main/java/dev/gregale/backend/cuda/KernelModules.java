package dev.gregale.backend.cuda;

import static dev.gregale.backend.cuda.CudaErrorException.check;

import java.nio.ByteBuffer;
import java.util.ArrayList;
import java.util.List;
import java.util.stream.Collectors;
import java.util.stream.Stream;
import jcuda.Pointer;
import jcuda.driver.CUfunction;
import jcuda.driver.CUfunction_attribute;
import jcuda.driver.CUmodule;
import jcuda.driver.CUresult;
import jcuda.driver.JCudaDriver;

/**
 * The packed kernels, loaded for one GPU. Images for the GPU's own architecture come before the
 * general ones.
 */
final class KernelModules implements AutoCloseable {
  private static final int STATIC_SHARED_LIMIT = 48 << 10; // more must be asked for

  /** Leaves it to the driver how a multiprocessor's memory is divided. */
  static final int DRIVERS_CARVE_OUT = -1;

  /** The driver loads kernels when they are first asked for, so the image must stay where it is. */
  private record Loaded(KernelLibrary.Image image, CUmodule module, ByteBuffer memory) {}

  /** A function whose handle can be read as a number. */
  private static final class Function extends CUfunction {
    long handle() {
      return getNativePointer();
    }
  }

  private final CudaDevice device;
  private final List<Loaded> modules = new ArrayList<>();

  /**
   * @throws CudaUnavailableException if the build packed no kernels, or none for this GPU
   */
  KernelModules(CudaDevice device, KernelLibrary library) {
    this.device = device;
    if (library.images().isEmpty()) {
      throw new CudaUnavailableException(
          "this build has no CUDA kernels",
          "build it where nvcc (CUDA 13.0 or later) is installed");
    }
    Stream.concat(
            library.images().stream().filter(KernelLibrary.Image::isArchitectureSpecific),
            library.images().stream().filter(image -> !image.isArchitectureSpecific()))
        .filter(image -> image.runsOn(device.major(), device.minor()))
        .forEach(image -> modules.add(load(image)));
  }

  private Loaded load(KernelLibrary.Image image) {
    CUmodule module = new CUmodule();
    ByteBuffer memory = ByteBuffer.allocateDirect(image.bytes().length).put(image.bytes()).flip();
    int code =
        JCudaDriver.cuModuleLoadDataEx(module, Pointer.to(memory), 0, new int[0], new Pointer());
    if (code != CUresult.CUDA_SUCCESS) {
      throw new CudaUnavailableException(
          "%s does not load on %s: %s"
              .formatted(image.file(), device.architecture(), CUresult.stringFor(code)),
          "build the kernels for this architecture (ARCHS in native-kernels/Makefile)");
    }
    return new Loaded(image, module, memory);
  }

  /**
   * Finds a kernel, and loads its code now rather than at its first launch.
   *
   * @param source the .cu file's name, as in {@code rms_norm}
   * @param sharedBytes dynamic shared memory it is launched with
   * @throws CudaUnavailableException naming kernel, file and architecture if it is missing
   */
  KernelFunction function(String source, String name, int sharedBytes) {
    return load(source, name, sharedBytes, DRIVERS_CARVE_OUT);
  }

  private KernelFunction load(String source, String name, int sharedBytes, int carveOut) {
    int code = CUresult.CUDA_ERROR_NOT_FOUND;
    for (Loaded loaded : modules) {
      if (loaded.image().source().equals(source)) {
        Function function = new Function();
        code = JCudaDriver.cuModuleGetFunction(function, loaded.module(), name);
        if (code == CUresult.CUDA_SUCCESS) {
          prepare(function, name, sharedBytes, carveOut);
          return new KernelFunction(name, function.handle());
        }
      }
    }
    throw new CudaUnavailableException(
        "the kernel %s of %s.fatbin for %s does not load: %s; found the files %s"
            .formatted(
                name,
                source,
                device.architecture(),
                CUresult.stringFor(code),
                modules.stream().map(l -> l.image().file()).collect(Collectors.joining(", "))),
        "build again");
  }

  private static void prepare(Function function, String name, int sharedBytes, int carveOut) {
    check(
        JCudaDriver.cuFuncGetAttribute(
            new int[1], CUfunction_attribute.CU_FUNC_ATTRIBUTE_NUM_REGS, function),
        "loading " + name);
    if (sharedBytes > STATIC_SHARED_LIMIT) {
      check(
          JCudaDriver.cuFuncSetAttribute(
              function,
              CUfunction_attribute.CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES,
              sharedBytes),
          "giving %s %d bytes of shared memory".formatted(name, sharedBytes));
    }
    check(
        JCudaDriver.cuFuncSetAttribute(
            function,
            CUfunction_attribute.CU_FUNC_ATTRIBUTE_PREFERRED_SHARED_MEMORY_CARVEOUT,
            carveOut),
        "dividing the memory of " + name);
  }

  /**
   * The same for a kernel that should leave part of the multiprocessor's memory to the L1 cache.
   *
   * @param carveOut shared memory's part in percent
   */
  KernelFunction function(String source, String name, int sharedBytes, int carveOut) {
    return load(source, name, sharedBytes, carveOut);
  }

  /** The same for a kernel without dynamic shared memory. */
  KernelFunction function(String source, String name) {
    return function(source, name, 0);
  }

  @Override
  public void close() {
    modules.forEach(loaded -> JCudaDriver.cuModuleUnload(loaded.module()));
  }
}
