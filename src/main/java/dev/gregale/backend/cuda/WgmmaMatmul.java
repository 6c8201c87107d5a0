package dev.gregale.backend.cuda;

import dev.gregale.backend.WorkspaceLimits;
import dev.gregale.tensor.DType;
import dev.gregale.tensor.InputScaling;
import java.util.Objects;

/** Tiled weights on Hopper, any number of rows: {@code matmul_wgmma.cu}, {@code _fp8.cu}. */
final class WgmmaMatmul implements MatmulKernel {
  private static final String SOURCE = "matmul_wgmma";
  private static final int MIN_TILE_ROWS = 64;
  private static final int ROW_COST = 256; // of a weight tile, in rows of a token tile
  private final WgmmaTools tools;
  private final KernelLauncher launcher;
  private final RowTiler tiler;
  private final GemmKernels toBf16;
  private final GemmKernels toF32;
  private final GemmKernels addToF32;

  WgmmaMatmul(WgmmaTools tools) {
    this.tools = tools;
    launcher = tools.launcher();
    KernelModules modules = tools.modules();
    tiler = new RowTiler(launcher, modules);
    toBf16 = tools.gemm(SOURCE, "matmul_wgmma_bf16", "matmul_%s_bf16");
    toF32 = tools.gemm(SOURCE, "matmul_wgmma_f32", "matmul_%s_f32");
    addToF32 = tools.gemm(SOURCE, "matmul_wgmma_add_f32", "matmul_%s_add_f32");
  }

  @Override
  public boolean accepts(CudaTensor weight, CudaTensor out, int rows) {
    return weight.layout() == WeightLayout.TILED;
  }

  @Override
  public void reserve(WorkspaceLimits limits) {
    int widest =
        Math.max(limits.hidden(), limits.attention().numHeads() * limits.attention().headDim());
    int padded = TiledLayout.maxPaddedRows(limits.tokens(), 1, MIN_TILE_ROWS);
    tiles(padded, widest);
    scales(padded, widest);
    tools.rounder().reserve(limits.tokens(), widest);
  }

  private long tiles(int paddedRows, int k) {
    return tools
        .workspace()
        .address(Workspace.Use.MATMUL_TILES, TiledLayout.tokenBytes(paddedRows, k));
  }

  private long scales(int paddedRows, int k) {
    return tools
        .workspace()
        .address(Workspace.Use.MATMUL_SCALES, InputQuantizer.scaleBytes(paddedRows, k));
  }

  /** The height of token tiles that keeps the clusters busiest. */
  private int maxTileRows(int rows, int nTiles, int most) {
    int best = 0;
    int bestCost = Integer.MAX_VALUE;
    for (int height = most; height >= MIN_TILE_ROWS; height -= 16) {
      int tiles = Math.ceilDiv(rows, height);
      int tileRows = TiledLayout.tileRows(Math.ceilDiv(rows, tiles));
      int units = Math.ceilDiv(nTiles, 2) * tiles;
      int cost = Math.ceilDiv(units, toBf16.blocks() / 2) * (tileRows + ROW_COST);
      if (cost < bestCost) {
        best = height;
        bestCost = cost;
      }
    }
    return best;
  }

  @Override
  public void launch(CudaTensor out, CudaTensor x, CudaTensor weight, int rows) {
    launch(out.dtype() == DType.F32 ? toF32 : toBf16, out, x, weight, rows);
  }

  @Override
  public boolean launchAdd(CudaTensor out, CudaTensor x, CudaTensor weight, int rows) {
    launch(addToF32, out, x, weight, rows);
    return true;
  }

  private void launch(GemmKernels gemm, CudaTensor out, CudaTensor x, CudaTensor weight, int rows) {
    if (rows == 0) {
      return;
    }
    int n = weight.shape().intDim(0);
    int k = weight.shape().intDim(1);
    GemmKind kind = GemmKind.of(weight, tools.mayQuantize());
    int nTiles = TiledLayout.nTiles(n);
    int maxTileRows = maxTileRows(rows, nTiles, kind.maxTileRows());
    GemmKernels.Tokens tokens = tokens(x, weight, kind, rows, maxTileRows);
    launcher.begin().add(out);
    GemmKernels.addOperands(launcher, kind, weight, tokens);
    launcher.add(rows).add(maxTileRows).add(nTiles);
    GemmKernels.addTiles(launcher, kind, weight, k);
    launcher.add(n);
    gemm.launch(launcher, kind);
  }

  private GemmKernels.Tokens tokens(
      CudaTensor x, CudaTensor weight, GemmKind kind, int rows, int maxTileRows) {
    int k = weight.shape().intDim(1);
    int padded = TiledLayout.maxPaddedRows(rows, 1, maxTileRows);
    GemmKernels.Tokens tokens = new GemmKernels.Tokens(tiles(padded, k), scales(padded, k));
    if (kind.isQuantizingInputs()) {
      InputScaling inputs = Objects.requireNonNull(weight.inputs());
      tools.quantizer().rows(tokens, x.address(), rows, k, maxTileRows, inputs, padded);
      return tokens;
    }
    long from = tools.rounder().rows(weight, x, rows, k);
    tiler.launch(tokens.tiles(), from, rows, k, maxTileRows);
    return tokens;
  }
}
