package dev.gregale.backend;

/**
 * Memory of the device that a backend runs on.
 *
 * @param allocatedBytes by this backend: weights, KV cache, scratch
 * @param totalBytes there are
 */
public record DeviceMemory(long allocatedBytes, long totalBytes) {}
