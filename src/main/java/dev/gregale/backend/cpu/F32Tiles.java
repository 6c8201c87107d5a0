package dev.gregale.backend.cpu;

import static dev.gregale.backend.cpu.VectorMath.FLOATS;
import static java.nio.ByteOrder.LITTLE_ENDIAN;

import java.lang.foreign.MemorySegment;
import jdk.incubator.vector.FloatVector;

/**
 * The inner loops of every product with fp32 weights: 4, 2 or 1 rows of inputs times one panel of a
 * {@link PackedMatrix}. The sums stay in registers, which is why the loops are written out.
 *
 * <p>Common arguments: the panel's weights for the first input lie at {@code at} in {@code w}; row
 * i of the inputs starts at {@code x[xi]}; {@code depth} inputs are multiplied; the sums of row i
 * are {@code sums[sumsAt + 4 i L ..]}, to which the products are added if {@code add}, else they
 * start at zero.
 */
final class F32Tiles {
  private static final int L = VectorMath.LANES;
  private static final int STRIDE = PackedMatrix.PANEL * 4;

  private F32Tiles() {}

  /** Four rows. */
  static void multiply4(
      MemorySegment w,
      long at,
      float[] x,
      int x0,
      int x1,
      int x2,
      int x3,
      int depth,
      float[] sums,
      int sumsAt,
      boolean add) {
    FloatVector s00 = VectorMath.start(sums, sumsAt, add);
    FloatVector s01 = VectorMath.start(sums, sumsAt + L, add);
    FloatVector s02 = VectorMath.start(sums, sumsAt + 2 * L, add);
    FloatVector s03 = VectorMath.start(sums, sumsAt + 3 * L, add);
    FloatVector s10 = VectorMath.start(sums, sumsAt + 4 * L, add);
    FloatVector s11 = VectorMath.start(sums, sumsAt + 5 * L, add);
    FloatVector s12 = VectorMath.start(sums, sumsAt + 6 * L, add);
    FloatVector s13 = VectorMath.start(sums, sumsAt + 7 * L, add);
    FloatVector s20 = VectorMath.start(sums, sumsAt + 8 * L, add);
    FloatVector s21 = VectorMath.start(sums, sumsAt + 9 * L, add);
    FloatVector s22 = VectorMath.start(sums, sumsAt + 10 * L, add);
    FloatVector s23 = VectorMath.start(sums, sumsAt + 11 * L, add);
    FloatVector s30 = VectorMath.start(sums, sumsAt + 12 * L, add);
    FloatVector s31 = VectorMath.start(sums, sumsAt + 13 * L, add);
    FloatVector s32 = VectorMath.start(sums, sumsAt + 14 * L, add);
    FloatVector s33 = VectorMath.start(sums, sumsAt + 15 * L, add);
    for (int k = 0; k < depth; k++) {
      long here = at + (long) k * STRIDE;
      FloatVector w0 = FloatVector.fromMemorySegment(FLOATS, w, here, LITTLE_ENDIAN);
      FloatVector w1 = FloatVector.fromMemorySegment(FLOATS, w, here + STRIDE / 4, LITTLE_ENDIAN);
      FloatVector w2 =
          FloatVector.fromMemorySegment(FLOATS, w, here + 2 * STRIDE / 4, LITTLE_ENDIAN);
      FloatVector w3 =
          FloatVector.fromMemorySegment(FLOATS, w, here + 3 * STRIDE / 4, LITTLE_ENDIAN);
      FloatVector input = FloatVector.broadcast(FLOATS, x[x0 + k]);
      s00 = input.fma(w0, s00);
      s01 = input.fma(w1, s01);
      s02 = input.fma(w2, s02);
      s03 = input.fma(w3, s03);
      input = FloatVector.broadcast(FLOATS, x[x1 + k]);
      s10 = input.fma(w0, s10);
      s11 = input.fma(w1, s11);
      s12 = input.fma(w2, s12);
      s13 = input.fma(w3, s13);
      input = FloatVector.broadcast(FLOATS, x[x2 + k]);
      s20 = input.fma(w0, s20);
      s21 = input.fma(w1, s21);
      s22 = input.fma(w2, s22);
      s23 = input.fma(w3, s23);
      input = FloatVector.broadcast(FLOATS, x[x3 + k]);
      s30 = input.fma(w0, s30);
      s31 = input.fma(w1, s31);
      s32 = input.fma(w2, s32);
      s33 = input.fma(w3, s33);
    }
    s00.intoArray(sums, sumsAt);
    s01.intoArray(sums, sumsAt + L);
    s02.intoArray(sums, sumsAt + 2 * L);
    s03.intoArray(sums, sumsAt + 3 * L);
    s10.intoArray(sums, sumsAt + 4 * L);
    s11.intoArray(sums, sumsAt + 5 * L);
    s12.intoArray(sums, sumsAt + 6 * L);
    s13.intoArray(sums, sumsAt + 7 * L);
    s20.intoArray(sums, sumsAt + 8 * L);
    s21.intoArray(sums, sumsAt + 9 * L);
    s22.intoArray(sums, sumsAt + 10 * L);
    s23.intoArray(sums, sumsAt + 11 * L);
    s30.intoArray(sums, sumsAt + 12 * L);
    s31.intoArray(sums, sumsAt + 13 * L);
    s32.intoArray(sums, sumsAt + 14 * L);
    s33.intoArray(sums, sumsAt + 15 * L);
  }

  /** Two rows. */
  static void multiply2(
      MemorySegment w,
      long at,
      float[] x,
      int x0,
      int x1,
      int depth,
      float[] sums,
      int sumsAt,
      boolean add) {
    FloatVector s00 = VectorMath.start(sums, sumsAt, add);
    FloatVector s01 = VectorMath.start(sums, sumsAt + L, add);
    FloatVector s02 = VectorMath.start(sums, sumsAt + 2 * L, add);
    FloatVector s03 = VectorMath.start(sums, sumsAt + 3 * L, add);
    FloatVector s10 = VectorMath.start(sums, sumsAt + 4 * L, add);
    FloatVector s11 = VectorMath.start(sums, sumsAt + 5 * L, add);
    FloatVector s12 = VectorMath.start(sums, sumsAt + 6 * L, add);
    FloatVector s13 = VectorMath.start(sums, sumsAt + 7 * L, add);
    for (int k = 0; k < depth; k++) {
      long here = at + (long) k * STRIDE;
      FloatVector w0 = FloatVector.fromMemorySegment(FLOATS, w, here, LITTLE_ENDIAN);
      FloatVector w1 = FloatVector.fromMemorySegment(FLOATS, w, here + STRIDE / 4, LITTLE_ENDIAN);
      FloatVector w2 =
          FloatVector.fromMemorySegment(FLOATS, w, here + 2 * STRIDE / 4, LITTLE_ENDIAN);
      FloatVector w3 =
          FloatVector.fromMemorySegment(FLOATS, w, here + 3 * STRIDE / 4, LITTLE_ENDIAN);
      FloatVector input = FloatVector.broadcast(FLOATS, x[x0 + k]);
      s00 = input.fma(w0, s00);
      s01 = input.fma(w1, s01);
      s02 = input.fma(w2, s02);
      s03 = input.fma(w3, s03);
      input = FloatVector.broadcast(FLOATS, x[x1 + k]);
      s10 = input.fma(w0, s10);
      s11 = input.fma(w1, s11);
      s12 = input.fma(w2, s12);
      s13 = input.fma(w3, s13);
    }
    s00.intoArray(sums, sumsAt);
    s01.intoArray(sums, sumsAt + L);
    s02.intoArray(sums, sumsAt + 2 * L);
    s03.intoArray(sums, sumsAt + 3 * L);
    s10.intoArray(sums, sumsAt + 4 * L);
    s11.intoArray(sums, sumsAt + 5 * L);
    s12.intoArray(sums, sumsAt + 6 * L);
    s13.intoArray(sums, sumsAt + 7 * L);
  }

  /** One row. */
  static void multiply1(
      MemorySegment w,
      long at,
      float[] x,
      int x0,
      int depth,
      float[] sums,
      int sumsAt,
      boolean add) {
    FloatVector s00 = VectorMath.start(sums, sumsAt, add);
    FloatVector s01 = VectorMath.start(sums, sumsAt + L, add);
    FloatVector s02 = VectorMath.start(sums, sumsAt + 2 * L, add);
    FloatVector s03 = VectorMath.start(sums, sumsAt + 3 * L, add);
    for (int k = 0; k < depth; k++) {
      long here = at + (long) k * STRIDE;
      FloatVector w0 = FloatVector.fromMemorySegment(FLOATS, w, here, LITTLE_ENDIAN);
      FloatVector w1 = FloatVector.fromMemorySegment(FLOATS, w, here + STRIDE / 4, LITTLE_ENDIAN);
      FloatVector w2 =
          FloatVector.fromMemorySegment(FLOATS, w, here + 2 * STRIDE / 4, LITTLE_ENDIAN);
      FloatVector w3 =
          FloatVector.fromMemorySegment(FLOATS, w, here + 3 * STRIDE / 4, LITTLE_ENDIAN);
      FloatVector input = FloatVector.broadcast(FLOATS, x[x0 + k]);
      s00 = input.fma(w0, s00);
      s01 = input.fma(w1, s01);
      s02 = input.fma(w2, s02);
      s03 = input.fma(w3, s03);
    }
    s00.intoArray(sums, sumsAt);
    s01.intoArray(sums, sumsAt + L);
    s02.intoArray(sums, sumsAt + 2 * L);
    s03.intoArray(sums, sumsAt + 3 * L);
  }
}
