package dev.gregale.backend.cuda;

import dev.gregale.backend.BackendException;
import jcuda.driver.CUresult;

/** A call of the CUDA driver failed. */
public final class CudaErrorException extends BackendException {
  private static final long serialVersionUID = 1L;
  private final int code;

  CudaErrorException(String what, int code) {
    super(what + ": " + CUresult.stringFor(code));
    this.code = code;
  }

  /** Throws unless the code is CUDA_SUCCESS. */
  static void check(int code, String what) {
    if (code != CUresult.CUDA_SUCCESS) {
      throw new CudaErrorException(what, code);
    }
  }

  /** The driver's CUresult. */
  public int code() {
    return code;
  }

  /** True where a kernel faulted: the driver then answers every later call with the same error. */
  @Override
  public boolean isSticky() {
    return switch (code) {
      case CUresult.CUDA_ERROR_ILLEGAL_ADDRESS,
          CUresult.CUDA_ERROR_LAUNCH_FAILED,
          CUresult.CUDA_ERROR_LAUNCH_TIMEOUT,
          CUresult.CUDA_ERROR_ILLEGAL_INSTRUCTION,
          CUresult.CUDA_ERROR_MISALIGNED_ADDRESS,
          CUresult.CUDA_ERROR_INVALID_ADDRESS_SPACE,
          CUresult.CUDA_ERROR_INVALID_PC,
          CUresult.CUDA_ERROR_HARDWARE_STACK_ERROR,
          CUresult.CUDA_ERROR_ECC_UNCORRECTABLE,
          CUresult.CUDA_ERROR_ASSERT ->
          true;
      default -> false;
    };
  }
}
