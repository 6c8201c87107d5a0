package dev.gregale.tensor;

import java.util.Arrays;
import java.util.List;

/**
 * Which scales the rows of a matrix have that consists of others' rows, its parts. Blocks are
 * counted from each part's first row, and their scales stand in the order in which the blocks
 * begin: so a grid of scales is merged as the rows are. Where the rows of a part that stand
 * together are whole blocks, that is the grid of the merged matrix itself.
 */
public final class ScaleRows {
  private final int[] gridRowOfRow;
  private final int[] partOfGridRow;

  private ScaleRows(int[] gridRowOfRow, int[] partOfGridRow) {
    this.gridRowOfRow = gridRowOfRow;
    this.partOfGridRow = partOfGridRow;
  }

  /** The next rows of a part; parts are counted from 0. */
  public record Run(int part, int rows) {}

  /**
   * @param runs the matrix, first row to last
   */
  public static ScaleRows of(List<Run> runs, int blockRows) {
    int parts = runs.stream().mapToInt(Run::part).max().orElse(-1) + 1;
    int[] rowsOfPart = new int[parts];
    int[] gridRowOfPart = new int[parts]; // of the part's latest block
    int[] gridRowOfRow = new int[runs.stream().mapToInt(Run::rows).sum()];
    int[] partOfGridRow = new int[gridRowOfRow.length];
    int row = 0;
    int gridRows = 0;
    for (Run run : runs) {
      for (int i = 0; i < run.rows(); i++) {
        if (rowsOfPart[run.part()]++ % blockRows == 0) {
          partOfGridRow[gridRows] = run.part();
          gridRowOfPart[run.part()] = gridRows++;
        }
        gridRowOfRow[row++] = gridRowOfPart[run.part()];
      }
    }
    return new ScaleRows(gridRowOfRow, Arrays.copyOf(partOfGridRow, gridRows));
  }

  /** Of each row of the matrix the row of the grid that holds its scales. */
  public int[] gridRowOfRow() {
    return gridRowOfRow.clone();
  }

  /** Of each row of the grid the part that it belongs to. */
  public int[] partOfGridRow() {
    return partOfGridRow.clone();
  }

  public int gridRows() {
    return partOfGridRow.length;
  }
}
