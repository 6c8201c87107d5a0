package dev.gregale.backend.parallel;

import dev.gregale.tensor.SlabReader;
import java.lang.foreign.MemorySegment;
import java.util.ArrayList;
import java.util.List;

/** Ranges of a matrix that lies in several slabs, gathered in place. */
final class Slabs {
  private final SlabReader source;
  private final long columns;
  private final List<MemorySegment> found = new ArrayList<>();

  /**
   * @param source the matrix, row by row
   */
  Slabs(List<MemorySegment> source, long columns, int elementBytes) {
    this.source = new SlabReader(source, elementBytes);
    this.columns = columns;
  }

  /** What has been gathered, in the order asked for. */
  List<MemorySegment> found() {
    return found;
  }

  /** Columns {@code [firstColumn, firstColumn + width)} of some rows. */
  void add(long firstRow, long rows, long firstColumn, long width) {
    if (width == columns) {
      source.at(firstRow * columns).take(rows * columns, found);
      return;
    }
    for (long row = firstRow; row < firstRow + rows; row++) {
      source.at(row * columns + firstColumn).take(width, found);
    }
  }
}
