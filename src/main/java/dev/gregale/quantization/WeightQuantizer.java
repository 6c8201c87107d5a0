package dev.gregale.quantization;

import dev.gregale.tensor.DType;
import dev.gregale.tensor.E4M3;
import dev.gregale.tensor.E8M0;
import dev.gregale.tensor.HostScales;
import dev.gregale.tensor.HostTensor;
import dev.gregale.tensor.InputScaling;
import dev.gregale.tensor.ScaleRows;
import dev.gregale.tensor.TensorReader;
import dev.gregale.tensor.WeightScaling;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.nio.ByteOrder;
import java.util.List;
import java.util.stream.IntStream;

/**
 * A weight on its way from F32, F16 or BF16 to codes and scales, in two passes over its source: the
 * scales are found when it is made, codes whenever they are asked for. All processors take part.
 */
public final class WeightQuantizer {
  private static final int CHUNK_ELEMENTS = 1 << 18;
  private static final ValueLayout.OfFloat FLOAT =
      ValueLayout.JAVA_FLOAT_UNALIGNED.withOrder(ByteOrder.LITTLE_ENDIAN);

  private final HostTensor source;
  private final TensorReader reader;
  private final List<Integer> partRows;
  private final Recipe recipe;
  private final WeightScaling scaling;
  private final int width;
  private final int gridColumns;
  private final int[] gridRowOfRow;
  private final float[] scales; // by which values are multiplied, [gridRows, gridColumns]

  /**
   * Finds the scales.
   *
   * @param partRows rows of each of the matrices below each other that have scales of their own
   * @param when inputs of a product with it are to be quantised
   */
  public WeightQuantizer(
      HostTensor source, List<Integer> partRows, Recipe recipe, InputScaling.When when) {
    this(source, new HostScales(recipe.weights(when), partRows, List.of()), recipe);
  }

  private WeightQuantizer(HostTensor source, HostScales parts, Recipe recipe) {
    this(source, parts.rows(), parts.partRows(), recipe, parts.scaling());
  }

  /**
   * Finds the scales of a matrix whose parts' rows are mixed: its codes and scales can be had, but
   * no tensor, whose parts stand below each other.
   *
   * @param rows for the recipe's blocks
   */
  public WeightQuantizer(HostTensor source, ScaleRows rows, Recipe recipe) {
    this(source, rows, List.of(), recipe, recipe.weights(InputScaling.When.NEVER));
  }

  private WeightQuantizer(
      HostTensor source,
      ScaleRows rows,
      List<Integer> partRows,
      Recipe recipe,
      WeightScaling scaling) {
    this.source = source;
    this.reader = new TensorReader(source);
    this.partRows = List.copyOf(partRows);
    this.recipe = recipe;
    this.scaling = scaling;
    this.width = source.shape().intDim(source.shape().rank() - 1);
    this.gridColumns = scaling.gridColumns(width);
    this.gridRowOfRow = rows.gridRowOfRow();
    this.scales = new float[Math.multiplyExact(rows.gridRows(), gridColumns)];
    forEachChunk(this::findLargest);
    for (int i = 0; i < scales.length; i++) {
      scales[i] = recipe.scale(scales[i]);
    }
  }

  /** Some rows of the weight. */
  @FunctionalInterface
  private interface Chunk {
    void run(int firstRow, int endRow);
  }

  private void forEachChunk(Chunk chunk) {
    int rows = gridRowOfRow.length;
    int some = Math.max(1, CHUNK_ELEMENTS / Math.max(1, width));
    IntStream.range(0, Math.ceilDiv(rows, some))
        .parallel()
        .forEach(i -> chunk.run(i * some, Math.min(rows, (i + 1) * some)));
  }

  private void findLargest(int firstRow, int endRow) {
    float[] values = new float[width];
    float[] largest = new float[gridColumns];
    for (int row = firstRow; row < endRow; row++) {
      reader.read(row, 0, width, values);
      for (int block = 0; block < gridColumns; block++) {
        int from = block * blockColumns();
        float amax = Recipe.amax(values, from, Math.min(blockColumns(), width - from));
        largest[block] = Math.max(largest[block], amax);
      }
      if (row + 1 == endRow || gridRowOfRow[row + 1] != gridRowOfRow[row]) {
        merge(gridRowOfRow[row] * gridColumns, largest);
      }
    }
  }

  private synchronized void merge(int at, float[] largest) {
    for (int block = 0; block < gridColumns; block++) {
      scales[at + block] = Math.max(scales[at + block], largest[block]);
      largest[block] = 0;
    }
  }

  private int blockColumns() {
    return Math.min(scaling.blockColumns(), width);
  }

  /** Elements of a row, which is as many codes. */
  public int width() {
    return width;
  }

  /** The codes of some rows, from the start of {@code codes}. Threads may share this. */
  public void codes(int firstRow, int endRow, byte[] codes) {
    float[] values = new float[width];
    for (int row = firstRow; row < endRow; row++) {
      reader.read(row, 0, width, values);
      int to = (row - firstRow) * width;
      for (int block = 0; block < gridColumns; block++) {
        float scale = scales[gridRowOfRow[row] * gridColumns + block];
        int end = Math.min(width, (block + 1) * blockColumns());
        for (int i = block * blockColumns(); i < end; i++) {
          codes[to + i] = E4M3.encode(values[i] * scale);
        }
      }
    }
  }

  /** The scales as they are stored, little-endian: {@code [gridRows, gridColumns]}. */
  public MemorySegment scales() {
    MemorySegment stored = MemorySegment.ofArray(new byte[scales.length * scaling.dtype().bytes()]);
    for (int i = 0; i < scales.length; i++) {
      float inverse = recipe.inverse(scales[i]);
      if (scaling.dtype() == DType.F32) {
        stored.set(FLOAT, 4L * i, inverse);
      } else {
        stored.set(ValueLayout.JAVA_BYTE, i, E8M0.encode(inverse));
      }
    }
    return stored;
  }

  /** The whole quantised weight, in memory of the arena's. */
  public HostTensor toTensor(Arena arena) {
    MemorySegment codes = arena.allocate(source.shape().numElements());
    forEachChunk(
        (firstRow, endRow) -> {
          byte[] some = new byte[(endRow - firstRow) * width];
          codes(firstRow, endRow, some);
          MemorySegment.copy(
              some, 0, codes, ValueLayout.JAVA_BYTE, (long) firstRow * width, some.length);
        });
    return new HostTensor(
        source.name(),
        DType.F8_E4M3,
        source.shape(),
        List.of(codes),
        new HostScales(scaling, partRows, List.of(scales())));
  }
}
