package dev.gregale.backend.parallel;

import dev.gregale.backend.parallel.WeightShards.Columns;
import dev.gregale.backend.parallel.WeightShards.Rows;
import dev.gregale.tensor.HostScales;
import dev.gregale.tensor.WeightScaling;
import java.util.ArrayList;
import java.util.List;

/**
 * The scales that belong to a rank's share of a quantised weight. Rows may be cut anywhere: where
 * that is inside a block, its rows on either side become parts with a block each. Columns are cut
 * between blocks alone, since a grid has the same columns in all of its parts.
 */
final class ScaleShards {

  private ScaleShards() {}

  /**
   * @param width columns of the whole weight
   * @param rows of the share, ascending
   * @param columns of the share
   */
  static HostScales shard(HostScales whole, long width, List<Rows> rows, Columns columns) {
    WeightScaling scaling = whole.scaling();
    requireWholeBlocks(scaling, width, columns.count());
    long firstColumn = columns.first() / scaling.blockColumns();
    long gridColumns = scaling.gridColumns(columns.count());
    List<Integer> partRows = new ArrayList<>();
    Slabs grid = new Slabs(whole.slabs(), scaling.gridColumns(width), scaling.dtype().bytes());
    for (Rows range : rows) {
      long start = 0; // of a part, in rows of the weight
      long gridStart = 0; // and of its grid
      for (int count : whole.partRows()) {
        long from = Math.max(range.first(), start) - start;
        long end = Math.min(range.end(), start + count) - start;
        while (from < end) {
          long cut = from % scaling.blockRows() == 0 ? end : nextBlock(from, scaling, end);
          long firstBlock = from / scaling.blockRows();
          partRows.add(Math.toIntExact(cut - from));
          grid.add(gridStart + firstBlock, scaling.gridRows(cut - from), firstColumn, gridColumns);
          from = cut;
        }
        start += count;
        gridStart += scaling.gridRows(count);
      }
    }
    return new HostScales(scaling, partRows, grid.found());
  }

  private static long nextBlock(long row, WeightScaling scaling, long end) {
    long next = (row / scaling.blockRows() + 1) * scaling.blockRows();
    return Math.min(next, end);
  }

  /**
   * @throws IllegalArgumentException if shares of that many columns would cut blocks, with the
   *     arithmetic
   */
  static void requireWholeBlocks(WeightScaling scaling, long width, long columns) {
    int block = scaling.blockColumns();
    if (columns != width && block != WeightScaling.WHOLE && columns % block != 0) {
      throw new IllegalArgumentException(
          "%d columns on each rank are not whole blocks of %d, which share an FP8 scale: %d remain"
              .formatted(columns, block, columns % block));
    }
  }
}
