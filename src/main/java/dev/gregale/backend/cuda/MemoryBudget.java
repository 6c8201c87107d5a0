package dev.gregale.backend.cuda;

import java.util.Locale;

/**
 * How much of a GPU's memory this process may take. All in bytes.
 *
 * @param total the GPU's memory
 * @param free what the driver would still give out
 * @param allocated what this process has taken already: scratch memory
 * @param utilization share of {@code total} that this process may take
 */
record MemoryBudget(long total, long free, long allocated, double utilization) {
  /** Recorded graphs and the driver's own needs, which nobody allocates by name. */
  private static final long RESERVED = 256L << 20;

  /** Bytes that may still be allocated. */
  long remaining() {
    long allowed = (long) (utilization * total) - allocated;
    return Math.max(0, Math.min(allowed, free) - RESERVED);
  }

  /**
   * What remains for the KV cache beside a model of that many bytes.
   *
   * @throws CudaUnavailableException if the model alone does not fit, with the arithmetic
   */
  long beside(long modelBytes, CudaDevice device) {
    long room = remaining();
    if (modelBytes >= room) {
      throw new CudaUnavailableException(
          String.format(
              Locale.ROOT,
              "the model needs %s for its weights and activations, but %s has room for %s: of %s"
                  + " gpu-memory-utilization allows %.2f (%s), scratch memory takes %s, the driver"
                  + " keeps %s, and %s are free",
              Bytes.gib(modelBytes),
              device,
              Bytes.gib(room),
              Bytes.gib(total),
              utilization,
              Bytes.gib((long) (utilization * total)),
              Bytes.gib(allocated),
              Bytes.gib(RESERVED),
              Bytes.gib(free)),
          "take a smaller model, a lower max-num-batched-tokens, a higher gpu-memory-utilization,"
              + " or a GPU with more memory");
    }
    return room - modelBytes;
  }
}
