package dev.gregale.backend.cuda;

import dev.gregale.backend.WeightRole;
import dev.gregale.tensor.Shape;

/** Row-major bf16 weights into tiles: {@code sm90a/tiled_weights.cu}. */
final class WeightTiler {
  private static final String SOURCE = "tiled_weights";
  private static final int THREADS = 256;
  private final KernelLauncher launcher;
  private final KernelModules modules;

  WeightTiler(KernelLauncher launcher, KernelModules modules) {
    this.launcher = launcher;
    this.modules = modules;
  }

  /** Bytes of the tiles. */
  long numBytes(WeightRole role, Shape shape) {
    TiledMatrix matrix = TiledMatrix.of(role, shape);
    return TiledLayout.weightBytes(matrix.groups(), matrix.n(), matrix.k());
  }

  /**
   * @param rows the weight, row-major
   */
  void tile(WeightRole role, Shape shape, long tiles, long rows) {
    TiledMatrix matrix = TiledMatrix.of(role, shape);
    if (role == WeightRole.EXPERTS_GATE_UP) {
      int intermediate = shape.intDim(1) / 2;
      long half = (long) intermediate * matrix.k();
      launcher
          .begin()
          .add(tiles)
          .add(rows)
          .add(rows + 2 * half)
          .add(2 * half)
          .add(intermediate)
          .add(matrix.k());
      launch("tile_gate_up_bf16", matrix);
    } else {
      launcher.begin().add(tiles).add(rows).add(matrix.n()).add(matrix.k());
      launch("tile_weight_bf16", matrix);
    }
  }

  private void launch(String kernel, TiledMatrix matrix) {
    launcher.launch(
        modules.function(SOURCE, kernel),
        TiledLayout.kTiles(matrix.k()),
        TiledLayout.nTiles(matrix.n()),
        matrix.groups(),
        THREADS,
        0);
  }
}
