package dev.gregale.backend.cuda;

import dev.gregale.tensor.DType;

/**
 * Any shape, any number of rows, on any GPU: {@code matmul.cu}. A row's bits are always the same.
 */
final class GeneralMatmul implements MatmulKernel {
  private final KernelLauncher launcher;
  private final InputRounder rounder;
  private final KernelFunction small;
  private final KernelFunction medium;
  private final KernelFunction large;

  GeneralMatmul(KernelLauncher launcher, KernelModules modules, InputRounder rounder) {
    this.launcher = launcher;
    this.rounder = rounder;
    small = modules.function("matmul", "matmul_bf16_m16", Tile.SMALL.sharedBytes());
    medium = modules.function("matmul", "matmul_bf16_m64", Tile.MEDIUM.sharedBytes());
    large = modules.function("matmul", "matmul_bf16_m128", Tile.LARGE.sharedBytes());
  }

  @Override
  public boolean accepts(CudaTensor weight, CudaTensor out, int rows) {
    return weight.layout() == WeightLayout.ROW_MAJOR;
  }

  @Override
  public void launch(CudaTensor out, CudaTensor x, CudaTensor weight, int rows) {
    int n = weight.shape().intDim(0);
    int k = weight.shape().intDim(1);
    // Few columns, as a router's, leave the GPU idle unless rows are cut small.
    long from = rounder.rows(weight, x, rows, k);
    Tile tile = n < Tile.MEDIUM.columns() ? Tile.SMALL : Tile.forRows(rows);
    launcher
        .begin()
        .add(out)
        .add(out.dtype() == DType.F32 ? 1 : 0)
        .add(from)
        .add(weight)
        .add(rows)
        .add(n)
        .add(k)
        .launch(
            tile.choose(small, medium, large),
            Math.ceilDiv(rows, tile.rows()),
            Math.ceilDiv(n, tile.columns()),
            1,
            tile.threads(),
            tile.sharedBytes());
  }
}
