package dev.gregale.backend.cpu;

import static dev.gregale.backend.cpu.VectorMath.FLOATS;
import static dev.gregale.backend.cpu.VectorMath.LANES;

import jdk.incubator.vector.FloatVector;

/** sum += x, element by element. */
final class AddKernel implements WorkerPool.Task {
  private static final int MIN_CHUNK_ELEMENTS = 65_536;

  private final WorkerPool pool;
  private float[] sum = {};
  private float[] x = {};
  private int count;

  AddKernel(WorkerPool pool) {
    this.pool = pool;
  }

  void add(float[] sum, float[] x, int count) {
    this.sum = sum;
    this.x = x;
    this.count = count;
    pool.run(this, Math.clamp(count / MIN_CHUNK_ELEMENTS, 1, pool.threads()));
  }

  @Override
  public void run(int chunk, int numChunks, int worker) {
    int end = (int) ((long) count * (chunk + 1) / numChunks);
    int i = (int) ((long) count * chunk / numChunks);
    for (; i <= end - LANES; i += LANES) {
      FloatVector.fromArray(FLOATS, sum, i)
          .add(FloatVector.fromArray(FLOATS, x, i))
          .intoArray(sum, i);
    }
    for (; i < end; i++) {
      sum[i] += x[i];
    }
  }
}
