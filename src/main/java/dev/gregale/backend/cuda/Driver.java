package dev.gregale.backend.cuda;

import java.lang.foreign.Arena;
import java.lang.foreign.FunctionDescriptor;
import java.lang.foreign.Linker;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.SymbolLookup;
import java.lang.foreign.ValueLayout;
import java.lang.invoke.MethodHandle;
import jcuda.driver.CUresult;

/**
 * What JCuda 12.6 lacks, called in the driver library directly: asking for a GPU without loading
 * JCuda's own library (which fails for good once it has failed), and cuLaunchKernelEx.
 */
final class Driver {
  private static final String LIBRARY = "libcuda.so.1";
  private final MethodHandle launchKernelEx;

  private Driver(MethodHandle launchKernelEx) {
    this.launchKernelEx = launchKernelEx;
  }

  /**
   * Opens the driver and finds out how many GPUs it has.
   *
   * @throws CudaUnavailableException without a driver, or with a driver but no GPU
   */
  static Driver open() {
    SymbolLookup library = library();
    requireSuccess(
        call(function(library, "cuInit", ValueLayout.JAVA_INT), 0),
        "the NVIDIA driver does not start");
    try (Arena arena = Arena.ofConfined()) {
      MemorySegment count = arena.allocate(ValueLayout.JAVA_INT);
      requireSuccess(
          call(function(library, "cuDeviceGetCount", ValueLayout.ADDRESS), count),
          "the NVIDIA driver does not count its GPUs");
      if (count.get(ValueLayout.JAVA_INT, 0) == 0) {
        throw noDevice();
      }
    }
    return new Driver(
        function(
            library,
            "cuLaunchKernelEx",
            ValueLayout.ADDRESS,
            ValueLayout.JAVA_LONG,
            ValueLayout.ADDRESS,
            ValueLayout.ADDRESS));
  }

  private static SymbolLookup library() {
    try {
      return SymbolLookup.libraryLookup(LIBRARY, Arena.global());
    } catch (IllegalArgumentException e) {
      throw new CudaUnavailableException(
          LIBRARY + " was not found",
          "install the NVIDIA driver, or start the container with access to the GPU",
          e);
    }
  }

  private static MethodHandle function(
      SymbolLookup library, String name, ValueLayout... parameters) {
    MemorySegment address =
        library
            .find(name)
            .orElseThrow(
                () ->
                    new CudaUnavailableException(
                        "the NVIDIA driver has no " + name,
                        "update the driver to 525 or later (CUDA 12)"));
    return Linker.nativeLinker()
        .downcallHandle(address, FunctionDescriptor.of(ValueLayout.JAVA_INT, parameters));
  }

  private static int call(MethodHandle function, Object argument) {
    try {
      return (int) function.invoke(argument);
    } catch (Throwable e) {
      throw new IllegalStateException("a downcall into " + LIBRARY + " failed", e);
    }
  }

  private static void requireSuccess(int code, String what) {
    if (code == CUresult.CUDA_ERROR_NO_DEVICE) {
      throw noDevice();
    }
    if (code != CUresult.CUDA_SUCCESS) {
      throw new CudaUnavailableException(
          what + ": " + CUresult.stringFor(code), "see that nvidia-smi works as this user");
    }
  }

  private static CudaUnavailableException noDevice() {
    return new CudaUnavailableException(
        "the NVIDIA driver sees no GPU",
        "check nvidia-smi and CUDA_VISIBLE_DEVICES, or start the container with access to the GPU");
  }

  /**
   * cuLaunchKernelEx.
   *
   * @param config a CUlaunchConfig
   * @param function a CUfunction
   * @param parameters an array of pointers to the arguments
   * @return the driver's CUresult
   */
  int launch(MemorySegment config, long function, MemorySegment parameters) {
    try {
      return (int) launchKernelEx.invokeExact(config, function, parameters, MemorySegment.NULL);
    } catch (Throwable e) {
      throw new IllegalStateException("a downcall into " + LIBRARY + " failed", e);
    }
  }
}
