package dev.gregale.backend.cpu;

import static dev.gregale.backend.cpu.PackedMatrix.PANEL;
import static dev.gregale.backend.cpu.VectorMath.LANES;
import static java.util.Objects.requireNonNull;

import dev.gregale.tensor.E8M0;
import dev.gregale.tensor.HostScales;
import dev.gregale.tensor.HostTensor;
import dev.gregale.tensor.TensorReader;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.nio.ByteOrder;
import java.util.Arrays;

/** Fills a {@link PackedMatrix} of codes and its scales, panel by panel, on all threads. */
final class CodePacker implements WorkerPool.Task {
  private static final ValueLayout.OfFloat FLOAT =
      ValueLayout.JAVA_FLOAT_UNALIGNED.withOrder(ByteOrder.LITTLE_ENDIAN);

  /** Inputs that are transposed at a time, so that rows are read a cache line or more at once. */
  private static final int BLOCK = 128;

  private final PackedMatrix matrix;
  private final TensorReader codes;
  private final float[] scales;
  private final int[] gridRowOfRow;

  private CodePacker(PackedMatrix matrix, HostTensor source) {
    HostScales scales = requireNonNull(source.scales());
    this.matrix = matrix;
    this.codes = new TensorReader(source);
    this.scales = scales.values();
    this.gridRowOfRow = scales.gridRowOfRow();
  }

  static void pack(WorkerPool pool, PackedMatrix matrix, HostTensor source) {
    pool.run(new CodePacker(matrix, source), matrix.numMatrices() * matrix.panels());
  }

  @Override
  public void run(int chunk, int numChunks, int worker) {
    int index = chunk / matrix.panels();
    int panel = chunk % matrix.panels();
    byte[] block = new byte[BLOCK * PANEL];
    byte[] row = new byte[BLOCK];
    for (int from = 0; from < matrix.depth(); from += BLOCK) {
      int count = Math.min(BLOCK, matrix.depth() - from);
      for (int i = 0; i < PANEL; i++) {
        int sourceRow = matrix.sourceRow(panel, i);
        if (sourceRow >= 0) {
          codes.readCodes((long) index * matrix.rows() + sourceRow, from, count, row);
          for (int k = 0; k < count; k++) {
            block[k * PANEL + place(i)] = row[k];
          }
        }
      }
      long start = matrix.panelStart(index, panel) + (long) from * PANEL;
      MemorySegment.copy(block, 0, matrix.data(), ValueLayout.JAVA_BYTE, start, count * PANEL);
      Arrays.fill(block, (byte) 0);
    }
    placeScales(index, panel);
  }

  /** The byte of a panel's row i among those of one input. */
  private static int place(int i) {
    return i % LANES * Integer.BYTES + i / LANES;
  }

  private void placeScales(int index, int panel) {
    PackedScales packed = matrix.scales();
    for (int i = 0; i < PANEL; i++) {
      int row = matrix.sourceRow(panel, i);
      for (int block = 0; row >= 0 && block < packed.gridColumns(); block++) {
        int gridRow = gridRowOfRow[index * matrix.rows() + row];
        float scale = scales[gridRow * packed.gridColumns() + block];
        long start = packed.start(matrix.panelIndex(index, panel), block);
        if (packed.areExponents()) {
          packed.data().set(ValueLayout.JAVA_BYTE, start + place(i), E8M0.encode(scale));
        } else {
          packed.data().set(FLOAT, start + 4L * i, scale);
        }
      }
    }
  }
}
