package dev.gregale.backend.cuda;

import dev.gregale.backend.WeightRole;
import dev.gregale.tensor.Shape;

/**
 * A weight as {@code [groups, n, k]} in tiles.
 *
 * @param groups E, or 1 of a projection
 * @param n rows; of gate and up I of each, rounded up to tiles of both
 * @param rows of a group in the tensor
 * @param intermediate I of gate and up, else 0
 */
record TiledMatrix(int groups, int n, int k, int rows, int intermediate) {

  static TiledMatrix of(WeightRole role, Shape shape) {
    return switch (role) {
      case EXPERTS_GATE_UP -> {
        int half = shape.intDim(1) / 2;
        yield new TiledMatrix(
            shape.intDim(0),
            TiledLayout.kTiles(half) * TiledLayout.TILE_ROWS,
            shape.intDim(2),
            shape.intDim(1),
            half);
      }
      case EXPERTS_DOWN ->
          new TiledMatrix(shape.intDim(0), shape.intDim(1), shape.intDim(2), shape.intDim(1), 0);
      default -> new TiledMatrix(1, shape.intDim(0), shape.intDim(1), shape.intDim(0), 0);
    };
  }

  /** Bytes of its tiles, 16 KB each. */
  long tileBytes(WeightFormat format) {
    return (long) groups * TiledLayout.nTiles(n) * format.kTiles(k) * TiledLayout.TILE_BYTES;
  }
}
