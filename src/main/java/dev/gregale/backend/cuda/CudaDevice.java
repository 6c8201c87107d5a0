package dev.gregale.backend.cuda;

/**
 * What is known of a GPU.
 *
 * @param ordinal as in nvidia-smi, after CUDA_VISIBLE_DEVICES
 * @param major of the compute capability
 * @param minor of the compute capability
 * @param numMultiprocessors SMs
 * @param memoryBytes in all
 */
public record CudaDevice(
    int ordinal, String name, int major, int minor, int numMultiprocessors, long memoryBytes) {

  private static final int OLDEST_MAJOR = 8; // bf16 mma and asynchronous copies

  /**
   * @throws CudaUnavailableException if it is too old for the kernels
   */
  void requireSupported() {
    if (major < OLDEST_MAJOR) {
      throw new CudaUnavailableException(
          "GPU %d, %s, is older than sm_%d0".formatted(ordinal, this, OLDEST_MAJOR),
          "use an Ampere GPU or later");
    }
  }

  /** As in {@code sm_90}. */
  public String architecture() {
    return "sm_" + major + minor;
  }

  boolean isHopper() {
    return major == 9 && minor == 0;
  }

  /** As in {@code NVIDIA H100 80GB HBM3 (sm_90, 132 SMs, 79.2 GiB)}. */
  @Override
  public String toString() {
    return "%s (%s, %d SMs, %s)"
        .formatted(name, architecture(), numMultiprocessors, Bytes.gib(memoryBytes));
  }
}
