package dev.gregale.tensor;

import java.util.ArrayList;
import java.util.List;

/**
 * Which scales the rows of a matrix have that consists of others' rows, its parts. Blocks are
 * counted from each part's first row, and their scales stand in the order in which the blocks
 * begin: so a grid of scales is merged as the rows are. Where the rows of a part that stand
 * together are whole blocks, that is the grid of the merged matrix itself.
 */
public final class ScaleRows {
  private final int[] gridRowOfRow;
  private final List<Run> gridRuns;

  private ScaleRows(int[] gridRowOfRow, List<Run> gridRuns) {
    this.gridRowOfRow = gridRowOfRow;
    this.gridRuns = gridRuns;
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
    List<Run> gridRuns = new ArrayList<>();
    int row = 0;
    int gridRows = 0;
    for (Run run : runs) {
      for (int i = 0; i < run.rows(); i++) {
        if (rowsOfPart[run.part()]++ % blockRows == 0) {
          gridRowOfPart[run.part()] = gridRows++;
          append(gridRuns, run.part());
        }
        gridRowOfRow[row++] = gridRowOfPart[run.part()];
      }
    }
    return new ScaleRows(gridRowOfRow, List.copyOf(gridRuns));
  }

  private static void append(List<Run> gridRuns, int part) {
    boolean goesOn = !gridRuns.isEmpty() && gridRuns.getLast().part() == part;
    int rows = goesOn ? gridRuns.removeLast().rows() : 0;
    gridRuns.add(new Run(part, rows + 1));
  }

  /** Of each row of the matrix the row of the grid that holds its scales. */
  public int[] gridRowOfRow() {
    return gridRowOfRow.clone();
  }

  /** Whose scales the grid's rows are, first to last. */
  public List<Run> gridRuns() {
    return gridRuns;
  }

  public int gridRows() {
    return gridRuns.stream().mapToInt(Run::rows).sum();
  }
}
