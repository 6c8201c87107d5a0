package dev.gregale.backend;

/**
 * What a device gives at best, as measured on it just now: what a step's bytes and FLOPs are held
 * against.
 *
 * @param readBytesPerSecond of one long array, read once
 * @param matmulFlopsPerSecond of a large square product in the type that the model multiplies in
 */
public record Ceilings(double readBytesPerSecond, double matmulFlopsPerSecond) {

  /** The higher of each: of two measurements that which was disturbed less. */
  public Ceilings max(Ceilings other) {
    return new Ceilings(
        Math.max(readBytesPerSecond, other.readBytesPerSecond),
        Math.max(matmulFlopsPerSecond, other.matmulFlopsPerSecond));
  }
}
