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

  /** A weight as {@code [groups, n, k]}; of gate and up, n is I rounded up to tiles of both. */
  private record Matrix(int groups, int n, int k) {
    static Matrix of(WeightRole role, Shape shape) {
      return switch (role) {
        case EXPERTS_GATE_UP ->
            new Matrix(
                shape.intDim(0),
                TiledLayout.kTiles(shape.intDim(1) / 2) * TiledLayout.TILE_ROWS,
                shape.intDim(2));
        case EXPERTS_DOWN -> new Matrix(shape.intDim(0), shape.intDim(1), shape.intDim(2));
        default -> new Matrix(1, shape.intDim(0), shape.intDim(1));
      };
    }
  }

  /** Bytes of the tiles. */
  long numBytes(WeightRole role, Shape shape) {
    Matrix matrix = Matrix.of(role, shape);
    return TiledLayout.weightBytes(matrix.groups(), matrix.n(), matrix.k());
  }

  /**
   * @param rows the weight, row-major
   */
  void tile(WeightRole role, Shape shape, long tiles, long rows) {
    Matrix matrix = Matrix.of(role, shape);
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

  private void launch(String kernel, Matrix matrix) {
    launcher.launch(
        modules.function(SOURCE, kernel),
        TiledLayout.kTiles(matrix.k()),
        TiledLayout.nTiles(matrix.n()),
        matrix.groups(),
        THREADS,
        0);
  }
}
