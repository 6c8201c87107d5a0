package dev.gregale.backend.parallel;

import java.lang.foreign.MemorySegment;
import java.util.ArrayList;
import java.util.List;

/** Ranges of a matrix that lies in several pieces, gathered in place. */
final class Slabs {
  private final List<MemorySegment> source;
  private final int elementBytes;
  private final long rowBytes;
  private final List<MemorySegment> found = new ArrayList<>();
  private int slab;
  private long slabStart; // of the current slab, in bytes of the matrix

  /**
   * @param source the matrix, row by row
   */
  Slabs(List<MemorySegment> source, long columns, int elementBytes) {
    this.source = source;
    this.elementBytes = elementBytes;
    this.rowBytes = columns * elementBytes;
  }

  /** What has been gathered, in the order asked for. */
  List<MemorySegment> found() {
    return found;
  }

  void addRows(long first, long count) {
    addBytes(first * rowBytes, count * rowBytes);
  }

  /** Columns {@code [firstColumn, firstColumn + width)} of some rows. */
  void add(long firstRow, long rows, long firstColumn, long width) {
    if (width * elementBytes == rowBytes) {
      addRows(firstRow, rows);
      return;
    }
    for (long row = firstRow; row < firstRow + rows; row++) {
      addBytes(row * rowBytes + firstColumn * elementBytes, width * elementBytes);
    }
  }

  /** Quick where ranges are asked for in ascending order. */
  private void addBytes(long from, long length) {
    if (from < slabStart) {
      slab = 0;
      slabStart = 0;
    }
    long at = from;
    long left = length;
    while (left > 0) {
      MemorySegment piece = source.get(slab);
      if (at >= slabStart + piece.byteSize()) {
        slabStart += piece.byteSize();
        slab++;
        continue;
      }
      long part = Math.min(left, slabStart + piece.byteSize() - at);
      found.add(piece.asSlice(at - slabStart, part));
      at += part;
      left -= part;
    }
  }
}
