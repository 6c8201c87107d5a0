package dev.gregale.backend.cpu;

import static dev.gregale.backend.cpu.VectorMath.LANES;

import dev.gregale.tensor.DType;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.nio.ByteOrder;
import java.util.Arrays;

/** Fills a {@link PackedMatrix}, panel by panel, on all threads. */
final class MatrixPacker implements WorkerPool.Task {
  private static final ValueLayout.OfInt INT =
      ValueLayout.JAVA_INT_UNALIGNED.withOrder(ByteOrder.LITTLE_ENDIAN);

  /** Inputs that are transposed at a time, so that rows are read a cache line or more at once. */
  private static final int BLOCK = 32;

  /** Where the weights come from. */
  @FunctionalInterface
  interface Source {
    /** Elements {@code [from, from + count)} of a row, counted over all matrices, as fp32. */
    void read(long row, int from, int count, float[] values);
  }

  private final PackedMatrix matrix;
  private final Source source;

  private MatrixPacker(PackedMatrix matrix, Source source) {
    this.matrix = matrix;
    this.source = source;
  }

  /** Several threads ask the source at the same time. */
  static void pack(WorkerPool pool, PackedMatrix matrix, Source source) {
    pool.run(new MatrixPacker(matrix, source), matrix.numMatrices() * matrix.panels());
  }

  @Override
  public void run(int chunk, int numChunks, int worker) {
    int index = chunk / matrix.panels();
    int panel = chunk % matrix.panels();
    int words = matrix.bytesPerInput() / Integer.BYTES;
    int[] block = new int[BLOCK * words];
    float[] values = new float[BLOCK];
    for (int from = 0; from < matrix.depth(); from += BLOCK) {
      int count = Math.min(BLOCK, matrix.depth() - from);
      for (int i = 0; i < PackedMatrix.PANEL; i++) {
        int row = matrix.sourceRow(panel, i);
        if (row >= 0) {
          source.read((long) index * matrix.rows() + row, from, count, values);
          place(values, count, i, block, words);
        }
      }
      long start = matrix.panelStart(index, panel) + (long) from * matrix.bytesPerInput();
      MemorySegment.copy(block, 0, matrix.data(), INT, start, count * words);
      Arrays.fill(block, 0);
    }
  }

  private void place(float[] values, int count, int i, int[] block, int words) {
    if (matrix.dtype() == DType.F32) {
      for (int k = 0; k < count; k++) {
        block[k * words + i] = Float.floatToRawIntBits(values[k]);
      }
    } else {
      int vector = i / LANES;
      int word = vector / 2 * LANES + i % LANES;
      int shift = vector % 2 == 0 ? 16 : 0; // even vectors lie in the low half
      for (int k = 0; k < count; k++) {
        int bits = Float.floatToRawIntBits(values[k]) & 0xffff0000;
        block[k * words + word] |= bits >>> shift;
      }
    }
  }
}
