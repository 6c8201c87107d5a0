package dev.gregale.model;

import dev.gregale.backend.Tensor;
import dev.gregale.quantization.CodeCensus;
import java.util.concurrent.atomic.AtomicLongArray;

/** What the weights that are loaded so far take, and how their codes lie. For any thread. */
public final class WeightStatistics {
  private final AtomicLongArray bytes = new AtomicLongArray(WeightClass.values().length);
  private final AtomicLongArray saturated = new AtomicLongArray(WeightClass.values().length);

  void add(WeightClass kind, Tensor weight) {
    bytes.addAndGet(kind.ordinal(), weight.numBytes());
  }

  void add(WeightClass kind, CodeCensus census) {
    saturated.addAndGet(kind.ordinal(), census.saturated());
  }

  /** On the backend, scales and padding included. */
  public long bytes(WeightClass kind) {
    return bytes.get(kind.ordinal());
  }

  /**
   * Codes of the largest magnitude. A few are as it should be: the largest value of a block may be
   * one. Many are values that were cut off.
   */
  public long saturated(WeightClass kind) {
    return saturated.get(kind.ordinal());
  }
}
