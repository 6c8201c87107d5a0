package dev.gregale.server;

import java.util.Arrays;
import java.util.Collection;

/**
 * Measured times.
 *
 * @param sortedMillis shortest first
 */
record Latencies(double[] sortedMillis) {

  static Latencies of(Collection<Long> nanos) {
    double[] millis = nanos.stream().mapToDouble(n -> n / 1e6).toArray();
    Arrays.sort(millis);
    return new Latencies(millis);
  }

  int count() {
    return sortedMillis.length;
  }

  /** The time that this share of them does not exceed. */
  double quantile(double share) {
    int index = (int) Math.ceil(share * sortedMillis.length) - 1;
    return sortedMillis.length == 0 ? 0 : sortedMillis[Math.max(0, index)];
  }

  @Override
  public String toString() {
    return "%d, ms: p50 %.1f, p99 %.1f, max %.1f"
        .formatted(count(), quantile(.5), quantile(.99), quantile(1));
  }
}
