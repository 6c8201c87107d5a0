package dev.gregale.backend.cuda;

/** CUDA cannot be used here. The message is one line: what is missing, and what to do about it. */
public final class CudaUnavailableException extends RuntimeException {
  private static final long serialVersionUID = 1L;

  public CudaUnavailableException(String reason, String fix) {
    super(reason + "; " + fix);
  }

  public CudaUnavailableException(String reason, String fix, Throwable cause) {
    super(reason + "; " + fix, cause);
  }
}
