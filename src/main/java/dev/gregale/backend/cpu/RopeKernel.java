package dev.gregale.backend.cpu;

import static dev.gregale.backend.cpu.VectorMath.FLOATS;
import static dev.gregale.backend.cpu.VectorMath.LANES;
import static java.util.Objects.requireNonNull;

import dev.gregale.backend.AttentionShape;
import jdk.incubator.vector.FloatVector;
import org.jspecify.annotations.Nullable;

/** Rotates queries and keys, and puts keys and values into the cache. */
final class RopeKernel implements WorkerPool.Task {
  private static final int MIN_CHUNK_ELEMENTS = 8_192;

  private final WorkerPool pool;

  private float[] qkv = {};
  private float[] table = {};
  private int[] positions = {};
  private int[] slots = {};
  private @Nullable VectorKvLayer kv;
  private @Nullable AttentionShape shape;
  private int numTokens;

  RopeKernel(WorkerPool pool) {
    this.pool = pool;
  }

  /** See {@link dev.gregale.backend.Kernels#ropeAndCacheKv}. */
  void rotateAndCache(
      float[] qkv,
      VectorKvLayer kv,
      float[] table,
      AttentionShape shape,
      int[] positions,
      int[] slots,
      int numTokens) {
    this.qkv = qkv;
    this.kv = kv;
    this.table = table;
    this.shape = shape;
    this.positions = positions;
    this.slots = slots;
    this.numTokens = numTokens;
    long chunks = (long) numTokens * shape.qkvWidth() / MIN_CHUNK_ELEMENTS;
    pool.run(this, (int) Math.clamp(chunks, 1, 4L * pool.threads()));
  }

  @Override
  public void run(int chunk, int numChunks, int worker) {
    AttentionShape shape = requireNonNull(this.shape);
    VectorKvLayer kv = requireNonNull(this.kv);
    int d = shape.headDim();
    int end = (int) ((long) numTokens * (chunk + 1) / numChunks);
    for (int t = (int) ((long) numTokens * chunk / numChunks); t < end; t++) {
      int row = t * shape.qkvWidth();
      for (int head = 0; head < shape.numHeads() + shape.numKvHeads(); head++) {
        rotate(qkv, row + head * d, table, positions[t] * d, d / 2);
      }
      if (slots[t] >= 0) {
        int keys = row + shape.numHeads() * d;
        int values = keys + shape.numKvHeads() * d;
        for (int g = 0; g < shape.numKvHeads(); g++) {
          kv.put(slots[t], g, qkv, keys + g * d, qkv, values + g * d);
        }
      }
    }
  }

  /** (a, b) becomes (a cos - b sin, b cos + a sin) for each pair (i, i + half). */
  private static void rotate(float[] head, int start, float[] table, int angles, int half) {
    int i = 0;
    for (; i <= half - LANES; i += LANES) {
      FloatVector cos = FloatVector.fromArray(FLOATS, table, angles + i);
      FloatVector sin = FloatVector.fromArray(FLOATS, table, angles + half + i);
      FloatVector a = FloatVector.fromArray(FLOATS, head, start + i);
      FloatVector b = FloatVector.fromArray(FLOATS, head, start + half + i);
      a.mul(cos).sub(b.mul(sin)).intoArray(head, start + i);
      b.mul(cos).add(a.mul(sin)).intoArray(head, start + half + i);
    }
    for (; i < half; i++) {
      float cos = table[angles + i];
      float sin = table[angles + half + i];
      float a = head[start + i];
      float b = head[start + half + i];
      head[start + i] = a * cos - b * sin;
      head[start + half + i] = b * cos + a * sin;
    }
  }
}
