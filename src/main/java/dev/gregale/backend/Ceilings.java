package dev.gregale.backend;

/**
 * What a device gives at best, as measured on it just now: what a step's bytes and FLOPs are held
 * against.
 *
 * @param readBytesPerSecond of one long array, read once
 * @param matmulFlopsPerSecond of a large square product in the type that the model multiplies in
 */
public record Ceilings(double readBytesPerSecond, double matmulFlopsPerSecond) {}
