package dev.gregale.backend.cuda;

/** The numbers of {@code tiled_layout.cuh} and {@code grouped_plan.cuh}; the same stand there. */
final class TiledLayout {
  /** Rows of a weight's tile. */
  static final int TILE_ROWS = 128;

  /** Columns of a tile of bf16. */
  static final int TILE_K = 64;

  /** Bytes of a weight's tile, whatever is in it. */
  static final int TILE_BYTES = TILE_ROWS * 128;

  /** Rows that a token tile's height is a multiple of. */
  static final int ROW_STEP = 16;

  /** The highest token tile. */
  static final int MAX_TOKEN_ROWS = 256;

  private static final int PLAN_BYTES = 16;

  private TiledLayout() {}

  /** Tiles along N. */
  static int nTiles(int n) {
    return Math.ceilDiv(n, TILE_ROWS);
  }

  /** Tiles along K. */
  static int kTiles(int k) {
    return Math.ceilDiv(k, TILE_K);
  }

  /** Bytes of a bf16 weight {@code [groups, n, k]}, with what it is padded by. */
  static long weightBytes(int groups, int n, int k) {
    return 2L * groups * nTiles(n) * kTiles(k) * TILE_ROWS * TILE_K;
  }

  /** Most rows, with padding, that so many rows over so many groups take. */
  static int maxPaddedRows(int rows, int groups, int maxTileRows) {
    return rows + (rows / maxTileRows + groups) * ROW_STEP;
  }

  /** Rows of the one token tile of up to {@link #MAX_TOKEN_ROWS} rows. */
  static int tileRows(int rows) {
    return Math.ceilDiv(rows, ROW_STEP) * ROW_STEP;
  }

  /** Bytes of bf16 token tiles of so many padded rows. */
  static long tokenBytes(int paddedRows, int k) {
    return 2L * paddedRows * kTiles(k) * TILE_K;
  }

  /** Bytes of the plan of a grouped product, rounded so that an array may follow. */
  static long planBytes(int groups) {
    long bytes = (groups + 1L) * PLAN_BYTES + 4L * groups;
    return (bytes + PLAN_BYTES - 1) / PLAN_BYTES * PLAN_BYTES;
  }
}
