package dev.gregale.backend.cpu;

import static dev.gregale.backend.cpu.VectorMath.LANES;
import static java.util.Objects.requireNonNull;

import dev.gregale.backend.Tensor;
import dev.gregale.tensor.DType;
import dev.gregale.tensor.InputScaling;
import dev.gregale.tensor.Shape;
import java.lang.foreign.MemorySegment;
import org.jspecify.annotations.Nullable;

/**
 * One or E matrices {@code [N, M]} in the order in which {@link Bf16Tiles} and {@link F32Tiles}
 * read them.
 *
 * <p>N is cut into panels of 4 vectors of L rows, the last one padded. Within a panel the weights
 * of one input lie side by side: 4 L floats, or as bf16 2 L ints, of which int i of vector v holds
 * row 2 v L + i in its low half and row (2 v + 1) L + i in its high half; a shift and a mask turn
 * them into floats.
 *
 * <p>Of a quantised matrix these are its codes, as L ints: int i holds the codes of rows i, L + i,
 * 2 L + i and 3 L + i, the first in its low byte. {@link CodedPanels} widens them with their
 * scales.
 *
 * <p>Lanes run along rows, never along M: each output is one chain of fused multiply-adds over M,
 * the same for every vector width.
 */
final class PackedMatrix implements Tensor {
  /** Rows of a panel. */
  static final int PANEL = 4 * LANES;

  private final DType dtype;
  private final Shape shape;
  private final boolean gateUp;
  private final int numMatrices;
  private final int rows;
  private final int depth;
  private final int panels;
  private final MemorySegment data;
  private final @Nullable PackedScales scales;

  /**
   * @param dtype BF16, F32 or F8_E4M3
   * @param shape {@code [N, M]} or {@code [E, N, M]}
   * @param gateUp the first half of the rows are gates and the second half ups, and each panel
   *     takes 2 vectors of either, so that the two meet in one tile
   * @param data {@link #bytes} of zeroed memory, to be filled by {@link MatrixPacker}
   * @param scales of F8_E4M3, to be filled likewise
   */
  PackedMatrix(
      DType dtype, Shape shape, boolean gateUp, MemorySegment data, @Nullable PackedScales scales) {
    this.dtype = dtype;
    this.shape = shape;
    this.gateUp = gateUp;
    this.numMatrices = shape.rank() == 3 ? shape.intDim(0) : 1;
    this.rows = shape.intDim(shape.rank() - 2);
    this.depth = shape.intDim(shape.rank() - 1);
    this.panels = panels(rows, gateUp);
    this.data = data;
    this.scales = scales;
  }

  /** What a matrix of that shape takes when packed, without scales. */
  static long bytes(DType dtype, Shape shape, boolean gateUp) {
    return totalPanels(shape, gateUp) * PANEL * shape.dim(shape.rank() - 1) * dtype.bytes();
  }

  /** Panels of all matrices of that shape. */
  static long totalPanels(Shape shape, boolean gateUp) {
    long matrices = shape.rank() == 3 ? shape.dim(0) : 1;
    return matrices * panels(shape.intDim(shape.rank() - 2), gateUp);
  }

  private static int panels(int rows, boolean gateUp) {
    if (gateUp && rows % 2 != 0) {
      throw new IllegalArgumentException(rows + " rows are not as many gates as ups");
    }
    int perPanel = gateUp ? PANEL / 2 : PANEL;
    return ((gateUp ? rows / 2 : rows) + perPanel - 1) / perPanel;
  }

  /** The row that a panel's row {@code 0 <= i < 4 L} holds, or -1 for padding. */
  int sourceRow(int panel, int i) {
    if (!gateUp) {
      int row = panel * PANEL + i;
      return row < rows ? row : -1;
    }
    int half = PANEL / 2;
    int unit = panel * half + i % half;
    return unit < rows / 2 ? unit + i / half * (rows / 2) : -1;
  }

  /** Where a panel starts in {@link #data}, in bytes. */
  long panelStart(int matrix, int panel) {
    return panelIndex(matrix, panel) * depth * bytesPerInput();
  }

  /** Bytes of a panel for each of the M inputs. */
  int bytesPerInput() {
    return PANEL * dtype.bytes();
  }

  /** A panel's number among those of all matrices. */
  long panelIndex(int matrix, int panel) {
    return (long) matrix * panels + panel;
  }

  @Override
  public DType dtype() {
    return dtype;
  }

  @Override
  public Shape shape() {
    return shape;
  }

  boolean isGateUp() {
    return gateUp;
  }

  /** E, or 1. */
  int numMatrices() {
    return numMatrices;
  }

  /** N. */
  int rows() {
    return rows;
  }

  /** M. */
  int depth() {
    return depth;
  }

  /** Panels of each matrix. */
  int panels() {
    return panels;
  }

  MemorySegment data() {
    return data;
  }

  /** Of a quantised matrix. */
  PackedScales scales() {
    return requireNonNull(scales);
  }

  /** What a product does to its inputs, or null. */
  @Nullable InputScaling inputs() {
    InputScaling inputs = scales == null ? null : scales.scaling().inputs();
    return inputs == null || inputs.when() != InputScaling.When.ALWAYS ? null : inputs;
  }

  @Override
  public long numBytes() {
    return data.byteSize() + (scales == null ? 0 : scales.data().byteSize());
  }
}
