package dev.gregale.backend.cuda;

/**
 * A tile shape of {@code tile_gemm.cuh}: the same numbers stand there.
 *
 * @param suffix of the kernels' names
 * @param rows of the output, BM
 * @param columns of the output, BN
 */
record Tile(String suffix, int rows, int columns, int threads, int sharedBytes) {
  static final Tile SMALL = new Tile("m16", 16, 64, 128, 6 * (16 + 64) * 128);
  static final Tile MEDIUM = new Tile("m64", 64, 64, 128, 5 * (64 + 64) * 128);
  static final Tile LARGE = new Tile("m128", 128, 128, 256, 3 * (128 + 128) * 128);

  /** The tile that wastes the least on that many rows. */
  static Tile forRows(int rows) {
    if (rows <= SMALL.rows) {
      return SMALL;
    }
    return rows <= MEDIUM.rows ? MEDIUM : LARGE;
  }

  /** One of three by the tile. */
  <T> T choose(T small, T medium, T large) {
    if (this == SMALL) {
      return small;
    }
    return this == MEDIUM ? medium : large;
  }
}
