package dev.gregale.backend.cuda;

/**
 * Rows as token tiles, which is how the matrix unit's products read them: {@code tile_rows_bf16}.
 */
final class RowTiler {
  private static final int THREADS = 256;
  private static final int GRAIN = 8; // rows, and tiles along K, of a block
  private final KernelLauncher launcher;
  private final KernelFunction tileRows;

  RowTiler(KernelLauncher launcher, KernelModules modules) {
    this.launcher = launcher;
    tileRows = modules.function("matmul_wgmma", "tile_rows_bf16");
  }

  /**
   * @param rows of {@code k} elements at {@code from}
   * @param maxTileRows into how high tiles they are cut at most
   */
  void launch(long tiles, long from, int rows, int k, int maxTileRows) {
    launcher
        .begin()
        .add(tiles)
        .add(from)
        .add(rows)
        .add(k)
        .add(maxTileRows)
        .launch(
            tileRows,
            Math.ceilDiv(TiledLayout.maxPaddedRows(rows, 1, maxTileRows), GRAIN),
            Math.ceilDiv(TiledLayout.kTiles(k), GRAIN),
            1,
            THREADS,
            0);
  }
}
