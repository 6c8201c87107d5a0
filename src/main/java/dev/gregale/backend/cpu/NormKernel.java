package dev.gregale.backend.cpu;

import static dev.gregale.backend.cpu.VectorMath.FLOATS;
import static dev.gregale.backend.cpu.VectorMath.LANES;

import jdk.incubator.vector.FloatVector;

/**
 * RMSNorm over rows. The squares are summed in {@value #PARTIAL_SUMS} strands, whatever the vector
 * width, and these halved until one is left.
 */
final class NormKernel implements WorkerPool.Task {
  private static final int PARTIAL_SUMS = 64;
  private static final int MIN_CHUNK_ELEMENTS = 16_384;

  private final WorkerPool pool;
  private final float[][] scratch; // [threads][PARTIAL_SUMS]

  private float[] out = {};
  private float[] x = {};
  private float[] gain = {};
  private float eps;
  private int rows;

  NormKernel(WorkerPool pool) {
    this.pool = pool;
    this.scratch = new float[pool.threads()][PARTIAL_SUMS];
  }

  /** out = x / rms(x) * gain, by row: {@code [rows, D]}. {@code out} may be {@code x}. */
  void norm(float[] out, float[] x, float[] gain, float eps, int rows) {
    this.out = out;
    this.x = x;
    this.gain = gain;
    this.eps = eps;
    this.rows = rows;
    long chunks = (long) rows * gain.length / MIN_CHUNK_ELEMENTS;
    pool.run(this, (int) Math.clamp(chunks, 1, 2L * pool.threads()));
  }

  @Override
  public void run(int chunk, int numChunks, int worker) {
    int width = gain.length;
    int end = (int) ((long) rows * (chunk + 1) / numChunks);
    for (int row = (int) ((long) rows * chunk / numChunks); row < end; row++) {
      int start = row * width;
      float meanSquare = sumOfSquares(x, start, width, scratch[worker]) / width;
      scale(start, (float) (1 / Math.sqrt(meanSquare + eps)));
    }
  }

  private static float sumOfSquares(float[] x, int start, int width, float[] sums) {
    FloatVector zero = FloatVector.zero(FLOATS);
    for (int j = 0; j < PARTIAL_SUMS; j += LANES) {
      zero.intoArray(sums, j);
    }
    int i = 0;
    for (; i <= width - PARTIAL_SUMS; i += PARTIAL_SUMS) {
      for (int j = 0; j < PARTIAL_SUMS; j += LANES) {
        FloatVector value = FloatVector.fromArray(FLOATS, x, start + i + j);
        value.fma(value, FloatVector.fromArray(FLOATS, sums, j)).intoArray(sums, j);
      }
    }
    for (; i < width; i++) {
      float value = x[start + i];
      sums[i % PARTIAL_SUMS] = Math.fma(value, value, sums[i % PARTIAL_SUMS]);
    }
    for (int half = PARTIAL_SUMS / 2; half > 0; half /= 2) {
      for (int j = 0; j < half; j++) {
        sums[j] += sums[j + half];
      }
    }
    return sums[0];
  }

  private void scale(int start, float factor) {
    int width = gain.length;
    int i = 0;
    for (; i <= width - LANES; i += LANES) {
      FloatVector.fromArray(FLOATS, x, start + i)
          .mul(factor)
          .mul(FloatVector.fromArray(FLOATS, gain, i))
          .intoArray(out, start + i);
    }
    for (; i < width; i++) {
      out[start + i] = x[start + i] * factor * gain[i];
    }
  }
}
