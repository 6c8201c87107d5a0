package dev.gregale.backend.cpu;

import dev.gregale.backend.Timeline;
import java.util.Arrays;

/** The time of day: ops have run when they return. */
final class CpuTimeline implements Timeline {
  private long[] nanos = new long[1024];
  private int count;

  @Override
  public int mark() {
    if (count == nanos.length) {
      nanos = Arrays.copyOf(nanos, 2 * count);
    }
    nanos[count] = System.nanoTime();
    return count++;
  }

  @Override
  public double millis(int from, int to) {
    return (nanos[to] - nanos[from]) / 1e6;
  }

  @Override
  public void clear() {
    count = 0;
  }
}
