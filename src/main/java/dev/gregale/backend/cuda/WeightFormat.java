package dev.gregale.backend.cuda;

/**
 * What a tiled weight's elements are. Kernels of one kind are named after it: {@code
 * fp8_codes.cuh}.
 */
enum WeightFormat {
  BF16("bf16", "", 64),
  /** E4M3 codes with an fp32 scale of eight rows and 128 columns. */
  FP8("fp8", "_fp8", 128),
  /** E4M3 codes with an exponent of 32 columns of a row. */
  MXFP8("mxfp8", "_fp8", 128);

  private final String kernel;
  private final String sourceSuffix;
  private final int tileColumns;

  WeightFormat(String kernel, String sourceSuffix, int tileColumns) {
    this.kernel = kernel;
    this.sourceSuffix = sourceSuffix;
    this.tileColumns = tileColumns;
  }

  /** As in the names of kernels. */
  String kernel() {
    return kernel;
  }

  /** The .cu file of its kernels, where that of bf16 is {@code source}. */
  String source(String source) {
    return source + sourceSuffix;
  }

  /** Tiles along K. */
  int kTiles(int k) {
    return Math.ceilDiv(k, tileColumns);
  }

  /** K with the padding of its last tile. */
  int paddedColumns(int k) {
    return kTiles(k) * tileColumns;
  }

  /** Bytes of the scales of a weight {@code [groups, n, k]} in tiles. */
  long scaleBytes(int groups, int n, int k) {
    long tiles = (long) groups * TiledLayout.nTiles(n) * kTiles(k);
    return switch (this) {
      case BF16 -> 0;
      case FP8 -> tiles * (TiledLayout.TILE_ROWS / 8) * Float.BYTES;
      case MXFP8 -> tiles * TiledLayout.TILE_ROWS * (tileColumns / 32);
    };
  }
}
