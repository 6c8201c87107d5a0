package dev.gregale.checkpoint;

import dev.gregale.tensor.ScaleRows;
import dev.gregale.tensor.Shape;
import dev.gregale.tensor.WeightScaling;

/**
 * How the scales of a quantised weight are stored: a grid with a row for each block of rows, in the
 * order in which the blocks begin.
 *
 * @param weight shape of the weight: {@code [N, M]}, or {@code [E, N, M]} of stacked experts
 * @param rows which of the grid's rows belong to which rows of the weight
 * @param columns of the grid
 * @param whole whether each matrix has a single scale
 */
public record ScaleGrid(Shape weight, ScaleRows rows, int columns, boolean whole) {

  /**
   * @param name of a weight that may be quantised
   */
  public static ScaleGrid of(
      CheckpointLayout layout,
      String name,
      Shape weight,
      ModelDimensions dims,
      WeightScaling scaling) {
    return new ScaleGrid(
        weight,
        ScaleRows.of(layout.parts(name, weight, dims), scaling.blockRows()),
        scaling.gridColumns(weight.dim(weight.rank() - 1)),
        scaling.blockRows() == WeightScaling.WHOLE);
  }

  /** As it is written: of stacked experts one grid per expert; single scales have no columns. */
  public Shape shape() {
    int gridRows = rows.gridRows();
    if (weight.rank() == 2) {
      return whole ? Shape.of(gridRows) : Shape.of(gridRows, columns);
    }
    long experts = weight.dim(0);
    return whole
        ? Shape.of(experts, gridRows / experts)
        : Shape.of(experts, gridRows / experts, columns);
  }

  /** Whether a stored tensor can be these scales. One scale per row may be a vector or scalar. */
  boolean fits(Shape found) {
    return found.equals(shape())
        || found.equals(Shape.of(rows.gridRows(), columns))
        || columns == 1 && found.rank() < 2 && found.numElements() == rows.gridRows();
  }
}
