package dev.gregale.backend.cuda;

import dev.gregale.backend.WorkspaceLimits;
import dev.gregale.tensor.DType;

/** Tiled weights on Hopper, any number of rows: {@code matmul_wgmma.cu}. */
final class WgmmaMatmul implements MatmulKernel {
  private static final String SOURCE = "matmul_wgmma";

  /** Shared memory of the grouped GEMM. */
  static final int SHARED_BYTES = 229_504;

  static final int THREADS = 384;
  private static final int TILE_THREADS = 256;
  private static final int TILE_GRAIN = 8; // rows, and tiles along K, of a block
  private static final int MIN_TILE_ROWS = 64;
  private static final int ROW_COST = 256; // of a weight tile, in rows of a token tile
  private final KernelLauncher launcher;
  private final Workspace workspace;
  private final int multiprocessors;
  private final KernelFunction tileRows;
  private final KernelFunction toBf16;
  private final KernelFunction toF32;

  WgmmaMatmul(
      KernelLauncher launcher, KernelModules modules, Workspace workspace, int multiprocessors) {
    this.launcher = launcher;
    this.workspace = workspace;
    this.multiprocessors = multiprocessors / 2 * 2; // clusters of two
    tileRows = modules.function(SOURCE, "tile_rows_bf16");
    toBf16 = modules.function(SOURCE, "matmul_wgmma_bf16", SHARED_BYTES);
    toF32 = modules.function(SOURCE, "matmul_wgmma_f32", SHARED_BYTES);
  }

  @Override
  public boolean accepts(CudaTensor weight, CudaTensor out, int rows) {
    return weight.layout() == WeightLayout.TILED;
  }

  @Override
  public void reserve(WorkspaceLimits limits) {
    int widest =
        Math.max(limits.hidden(), limits.attention().numHeads() * limits.attention().headDim());
    tiles(TiledLayout.maxPaddedRows(limits.tokens(), 1, MIN_TILE_ROWS), widest);
  }

  private long tiles(int paddedRows, int k) {
    return workspace.address(Workspace.Use.MATMUL_TILES, TiledLayout.tokenBytes(paddedRows, k));
  }

  /** The height of token tiles that keeps the clusters busiest. */
  private int maxTileRows(int rows, int nTiles) {
    int best = 0;
    int bestCost = Integer.MAX_VALUE;
    for (int height = TiledLayout.MAX_TOKEN_ROWS; height >= MIN_TILE_ROWS; height -= 16) {
      int tiles = Math.ceilDiv(rows, height);
      int tileRows = TiledLayout.tileRows(Math.ceilDiv(rows, tiles));
      int units = Math.ceilDiv(nTiles, 2) * tiles;
      int cost = Math.ceilDiv(units, multiprocessors / 2) * (tileRows + ROW_COST);
      if (cost < bestCost) {
        best = height;
        bestCost = cost;
      }
    }
    return best;
  }

  @Override
  public void launch(CudaTensor out, CudaTensor x, CudaTensor weight, int rows) {
    if (rows == 0) {
      return;
    }
    int n = weight.shape().intDim(0);
    int k = weight.shape().intDim(1);
    int nTiles = TiledLayout.nTiles(n);
    int kTiles = TiledLayout.kTiles(k);
    int maxTileRows = maxTileRows(rows, nTiles);
    int padded = TiledLayout.maxPaddedRows(rows, 1, maxTileRows);
    long tiles = tiles(padded, k);
    launcher
        .begin()
        .add(tiles)
        .add(x)
        .add(rows)
        .add(k)
        .add(maxTileRows)
        .launch(
            tileRows,
            Math.ceilDiv(padded, TILE_GRAIN),
            Math.ceilDiv(kTiles, TILE_GRAIN),
            1,
            TILE_THREADS,
            0);
    launcher
        .begin()
        .add(out)
        .add(weight)
        .add(tiles)
        .add(rows)
        .add(maxTileRows)
        .add(nTiles)
        .add(kTiles)
        .add(n)
        .launch(
            out.dtype() == DType.F32 ? toF32 : toBf16,
            multiprocessors,
            1,
            1,
            THREADS,
            SHARED_BYTES);
  }
}
