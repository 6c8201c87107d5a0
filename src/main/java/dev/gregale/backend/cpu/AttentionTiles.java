package dev.gregale.backend.cpu;

import static dev.gregale.backend.cpu.VectorMath.FLOATS;
import static dev.gregale.backend.cpu.VectorMath.INTS;
import static java.nio.ByteOrder.LITTLE_ENDIAN;

import java.lang.foreign.MemorySegment;
import jdk.incubator.vector.FloatVector;
import jdk.incubator.vector.IntVector;
import jdk.incubator.vector.ShortVector;
import jdk.incubator.vector.VectorOperators;
import jdk.incubator.vector.VectorShape;
import jdk.incubator.vector.VectorSpecies;

/**
 * The inner loops of attention over a {@link VectorKvLayer}, for 4 query heads that share a KV head
 * or for one. Rows of scratch follow each other at {@code stride}.
 */
final class AttentionTiles {
  private static final int L = VectorMath.LANES;
  private static final VectorSpecies<Short> SHORTS =
      VectorSpecies.of(short.class, VectorShape.forBitSize(L * Short.SIZE));

  private AttentionTiles() {}

  private static FloatVector load(MemorySegment memory, long at, boolean bf16) {
    if (bf16) {
      return ((IntVector)
              ShortVector.fromMemorySegment(SHORTS, memory, at, LITTLE_ENDIAN)
                  .convertShape(VectorOperators.ZERO_EXTEND_S2I, INTS, 0))
          .lanewise(VectorOperators.LSHL, 16)
          .reinterpretAsFloats();
    }
    return FloatVector.fromMemorySegment(FLOATS, memory, at, LITTLE_ENDIAN);
  }

  /**
   * Scores of 4 heads and 4 vectors of positions: query i starts at {@code q[qi]}, the keys' first
   * dimension of vector j at byte {@code kj}.
   */
  static void score4(
      MemorySegment keys,
      long k0,
      long k1,
      long k2,
      long k3,
      int keyStride,
      boolean bf16,
      float[] q,
      int q0,
      int q1,
      int q2,
      int q3,
      int d,
      float[] scores,
      int at,
      int stride) {
    FloatVector s00 = FloatVector.zero(FLOATS);
    FloatVector s01 = FloatVector.zero(FLOATS);
    FloatVector s02 = FloatVector.zero(FLOATS);
    FloatVector s03 = FloatVector.zero(FLOATS);
    FloatVector s10 = FloatVector.zero(FLOATS);
    FloatVector s11 = FloatVector.zero(FLOATS);
    FloatVector s12 = FloatVector.zero(FLOATS);
    FloatVector s13 = FloatVector.zero(FLOATS);
    FloatVector s20 = FloatVector.zero(FLOATS);
    FloatVector s21 = FloatVector.zero(FLOATS);
    FloatVector s22 = FloatVector.zero(FLOATS);
    FloatVector s23 = FloatVector.zero(FLOATS);
    FloatVector s30 = FloatVector.zero(FLOATS);
    FloatVector s31 = FloatVector.zero(FLOATS);
    FloatVector s32 = FloatVector.zero(FLOATS);
    FloatVector s33 = FloatVector.zero(FLOATS);
    for (int i = 0; i < d; i++) {
      long here = (long) i * keyStride;
      FloatVector key0 = load(keys, k0 + here, bf16);
      FloatVector key1 = load(keys, k1 + here, bf16);
      FloatVector key2 = load(keys, k2 + here, bf16);
      FloatVector key3 = load(keys, k3 + here, bf16);
      FloatVector query = FloatVector.broadcast(FLOATS, q[q0 + i]);
      s00 = query.fma(key0, s00);
      s01 = query.fma(key1, s01);
      s02 = query.fma(key2, s02);
      s03 = query.fma(key3, s03);
      query = FloatVector.broadcast(FLOATS, q[q1 + i]);
      s10 = query.fma(key0, s10);
      s11 = query.fma(key1, s11);
      s12 = query.fma(key2, s12);
      s13 = query.fma(key3, s13);
      query = FloatVector.broadcast(FLOATS, q[q2 + i]);
      s20 = query.fma(key0, s20);
      s21 = query.fma(key1, s21);
      s22 = query.fma(key2, s22);
      s23 = query.fma(key3, s23);
      query = FloatVector.broadcast(FLOATS, q[q3 + i]);
      s30 = query.fma(key0, s30);
      s31 = query.fma(key1, s31);
      s32 = query.fma(key2, s32);
      s33 = query.fma(key3, s33);
    }
    s00.intoArray(scores, at);
    s01.intoArray(scores, at + L);
    s02.intoArray(scores, at + 2 * L);
    s03.intoArray(scores, at + 3 * L);
    s10.intoArray(scores, at + stride);
    s11.intoArray(scores, at + stride + L);
    s12.intoArray(scores, at + stride + 2 * L);
    s13.intoArray(scores, at + stride + 3 * L);
    s20.intoArray(scores, at + 2 * stride);
    s21.intoArray(scores, at + 2 * stride + L);
    s22.intoArray(scores, at + 2 * stride + 2 * L);
    s23.intoArray(scores, at + 2 * stride + 3 * L);
    s30.intoArray(scores, at + 3 * stride);
    s31.intoArray(scores, at + 3 * stride + L);
    s32.intoArray(scores, at + 3 * stride + 2 * L);
    s33.intoArray(scores, at + 3 * stride + 3 * L);
  }

  /**
   * Scores of one head and 4 vectors of positions: query 0 starts at {@code q[q0]}, the keys' first
   * dimension of vector j at byte {@code kj}.
   */
  static void score1(
      MemorySegment keys,
      long k0,
      long k1,
      long k2,
      long k3,
      int keyStride,
      boolean bf16,
      float[] q,
      int q0,
      int d,
      float[] scores,
      int at) {
    FloatVector s00 = FloatVector.zero(FLOATS);
    FloatVector s01 = FloatVector.zero(FLOATS);
    FloatVector s02 = FloatVector.zero(FLOATS);
    FloatVector s03 = FloatVector.zero(FLOATS);
    for (int i = 0; i < d; i++) {
      long here = (long) i * keyStride;
      FloatVector key0 = load(keys, k0 + here, bf16);
      FloatVector key1 = load(keys, k1 + here, bf16);
      FloatVector key2 = load(keys, k2 + here, bf16);
      FloatVector key3 = load(keys, k3 + here, bf16);
      FloatVector query = FloatVector.broadcast(FLOATS, q[q0 + i]);
      s00 = query.fma(key0, s00);
      s01 = query.fma(key1, s01);
      s02 = query.fma(key2, s02);
      s03 = query.fma(key3, s03);
    }
    s00.intoArray(scores, at);
    s01.intoArray(scores, at + L);
    s02.intoArray(scores, at + 2 * L);
    s03.intoArray(scores, at + 3 * L);
  }

  /**
   * 2 vectors of the weighed values of 4 heads, summed over places [from, to): those of place i lie
   * at byte {@code base + places[i]}, its weight at {@code weights[p + i]}.
   */
  static void weigh4(
      MemorySegment values,
      long base,
      long[] places,
      boolean bf16,
      int from,
      int to,
      float[] weights,
      int p,
      int pStride,
      float[] sums,
      int at,
      int stride) {
    long step = bf16 ? 2L * L : 4L * L;
    FloatVector s00 = FloatVector.zero(FLOATS);
    FloatVector s01 = FloatVector.zero(FLOATS);
    FloatVector s10 = FloatVector.zero(FLOATS);
    FloatVector s11 = FloatVector.zero(FLOATS);
    FloatVector s20 = FloatVector.zero(FLOATS);
    FloatVector s21 = FloatVector.zero(FLOATS);
    FloatVector s30 = FloatVector.zero(FLOATS);
    FloatVector s31 = FloatVector.zero(FLOATS);
    for (int i = from; i < to; i++) {
      long here = base + places[i];
      FloatVector value0 = load(values, here, bf16);
      FloatVector value1 = load(values, here + step, bf16);
      FloatVector weight = FloatVector.broadcast(FLOATS, weights[p + i]);
      s00 = weight.fma(value0, s00);
      s01 = weight.fma(value1, s01);
      weight = FloatVector.broadcast(FLOATS, weights[p + pStride + i]);
      s10 = weight.fma(value0, s10);
      s11 = weight.fma(value1, s11);
      weight = FloatVector.broadcast(FLOATS, weights[p + 2 * pStride + i]);
      s20 = weight.fma(value0, s20);
      s21 = weight.fma(value1, s21);
      weight = FloatVector.broadcast(FLOATS, weights[p + 3 * pStride + i]);
      s30 = weight.fma(value0, s30);
      s31 = weight.fma(value1, s31);
    }
    s00.intoArray(sums, at);
    s01.intoArray(sums, at + L);
    s10.intoArray(sums, at + stride);
    s11.intoArray(sums, at + stride + L);
    s20.intoArray(sums, at + 2 * stride);
    s21.intoArray(sums, at + 2 * stride + L);
    s30.intoArray(sums, at + 3 * stride);
    s31.intoArray(sums, at + 3 * stride + L);
  }

  /**
   * 2 vectors of the weighed values of one head, summed over places [from, to): those of place i
   * lie at byte {@code base + places[i]}, its weight at {@code weights[p + i]}.
   */
  static void weigh1(
      MemorySegment values,
      long base,
      long[] places,
      boolean bf16,
      int from,
      int to,
      float[] weights,
      int p,
      float[] sums,
      int at) {
    long step = bf16 ? 2L * L : 4L * L;
    FloatVector s00 = FloatVector.zero(FLOATS);
    FloatVector s01 = FloatVector.zero(FLOATS);
    for (int i = from; i < to; i++) {
      long here = base + places[i];
      FloatVector value0 = load(values, here, bf16);
      FloatVector value1 = load(values, here + step, bf16);
      FloatVector weight = FloatVector.broadcast(FLOATS, weights[p + i]);
      s00 = weight.fma(value0, s00);
      s01 = weight.fma(value1, s01);
    }
    s00.intoArray(sums, at);
    s01.intoArray(sums, at + L);
  }
}
