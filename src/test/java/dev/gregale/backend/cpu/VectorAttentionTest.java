package dev.gregale.backend.cpu;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;

import dev.gregale.backend.AttentionShape;
import dev.gregale.backend.Device;
import dev.gregale.backend.ForwardBatch;
import dev.gregale.backend.KvLayer;
import dev.gregale.backend.Tensor;
import dev.gregale.tensor.DType;
import dev.gregale.tensor.Shape;
import java.util.Arrays;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/** Attention's bits depend on no batch mate, and caches are of the types that are asked for. */
class VectorAttentionTest extends VectorFixture {
  /** A sequence in one prefill, against the same in chunks and single tokens, in another cache. */
  @ParameterizedTest
  @ValueSource(ints = {0, 9})
  void aTokenOfAttentionHasTheSameBitsHoweverItIsBatched(int window) {
    for (DType dtype : new DType[] {DType.F32, DType.BF16, DType.F8_E4M3}) {
      for (int blockSize : new int[] {16, 5}) {
        AttentionShape shape = new AttentionShape(6, 2, 40, window);
        float[] qkv = gaussians(60 * shape.qkvWidth(), 1);
        int[] whole = {60};
        int[] chunks = {1, 20, 1, 1, 30, 7};
        assertArrayEquals(
            attend(vector(1), shape, dtype, qkv, blockSize, whole, Float.NaN),
            attend(vector(3), shape, dtype, qkv, blockSize, chunks, 1e30f));
      }
    }
  }

  @Test
  void aBf16CacheIsCloseToAnFp32One() {
    AttentionShape shape = new AttentionShape(4, 2, 32, 0);
    float[] qkv = gaussians(50 * shape.qkvWidth(), 1);
    int[] chunks = {45, 5};
    float[] exact = attend(vector(1), shape, DType.F32, qkv, 16, chunks, 0);
    float[] rounded = attend(vector(1), shape, DType.BF16, qkv, 16, chunks, 0);
    assertClose(exact, rounded, 0.02);
    assertFalse(Arrays.equals(exact, rounded));
  }

  /**
   * @param stale what an earlier sequence left in every slot
   * @return {@code [T, H d]}
   */
  private static float[] attend(
      Device backend,
      AttentionShape shape,
      DType dtype,
      float[] qkv,
      int blockSize,
      int[] chunks,
      float stale) {
    int total = Arrays.stream(chunks).sum();
    int blocks = Math.ceilDiv(total, blockSize);
    KvLayer kv = backend.allocateKv(blocks + 1, blockSize, shape, dtype);
    int[] table = new int[blocks];
    Arrays.setAll(table, i -> blocks - i);
    Tensor rope = backend.allocate(DType.F32, Shape.of(total, shape.headDim()));
    float[] angles = new float[total * shape.headDim()];
    Arrays.fill(angles, 0.5f);
    backend.write(rope, angles, angles.length);
    int everything = (blocks + 1) * blockSize;
    float[] old = new float[everything * shape.qkvWidth()];
    Arrays.fill(old, stale);
    int[] slots = new int[everything];
    Arrays.setAll(slots, i -> i);
    Tensor oldRows = floats(backend, Shape.of(everything, shape.qkvWidth()), old);
    ForwardBatch fill = batch(backend, new int[everything], slots, everything, everything, table);
    backend.kernels().ropeAndCacheKv(oldRows, kv, rope, shape, fill);
    float[] result = new float[total * shape.numHeads() * shape.headDim()];
    int done = 0;
    for (int count : chunks) {
      int[] positions = new int[count];
      int[] chunkSlots = new int[count];
      for (int i = 0; i < count; i++) {
        positions[i] = done + i;
        chunkSlots[i] = table[(done + i) / blockSize] * blockSize + (done + i) % blockSize;
      }
      int width = shape.qkvWidth();
      Tensor rows =
          floats(
              backend,
              Shape.of(count, width),
              Arrays.copyOfRange(qkv, done * width, (done + count) * width));
      int outWidth = shape.numHeads() * shape.headDim();
      Tensor out = backend.allocate(DType.F32, Shape.of(count, outWidth));
      ForwardBatch batch = batch(backend, positions, chunkSlots, count, done + count, table);
      backend.kernels().ropeAndCacheKv(rows, kv, rope, shape, batch);
      backend.kernels().pagedAttention(out, rows, kv, shape, batch);
      System.arraycopy(read(backend, out), 0, result, done * outWidth, count * outWidth);
      done += count;
    }
    return result;
  }

  private static ForwardBatch batch(
      Device backend, int[] positions, int[] slots, int count, int context, int[] table) {
    Tensor none = ints(backend, Shape.of(1), 0);
    ForwardBatch batch =
        new ForwardBatch(
            none,
            ints(backend, Shape.of(count), positions),
            ints(backend, Shape.of(count), slots),
            ints(backend, Shape.of(2), 0, count),
            ints(backend, Shape.of(1), context),
            ints(backend, Shape.of(1, table.length), table),
            none);
    batch.resize(count, 1, 0);
    return batch;
  }

  @Test
  void refusesACacheTypeItHasNot() {
    AttentionShape shape = new AttentionShape(2, 1, 8, 0);
    assertThrows(
        IllegalArgumentException.class, () -> vector(1).allocateKv(1, 16, shape, DType.F8_E5M2));
  }
}
