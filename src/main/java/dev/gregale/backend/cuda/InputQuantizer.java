package dev.gregale.backend.cuda;

import dev.gregale.backend.WeightRole;
import dev.gregale.tensor.InputScaling;

/** Inputs of products with quantised weights: {@code sm90a/quantize_rows.cu}. */
final class InputQuantizer {
  private static final String SOURCE = "quantize_rows";
  private static final int THREADS = 256;

  /** What a row may have at most. */
  static final int MAX_COLUMNS = 16_384;

  private static final int NARROW_COLUMNS = 4096;

  private final KernelLauncher launcher;
  private final SaturationCounts saturation;
  private final KernelFunction rows;
  private final KernelFunction narrowRows;
  private final KernelFunction gather;
  private final KernelFunction narrowGather;
  private final KernelFunction tiles;

  InputQuantizer(KernelLauncher launcher, KernelModules modules, SaturationCounts saturation) {
    this.launcher = launcher;
    this.saturation = saturation;
    rows = modules.function(SOURCE, "quantize_rows_fp8");
    narrowRows = modules.function(SOURCE, "quantize_rows_fp8_narrow");
    gather = modules.function(SOURCE, "quantize_gather_fp8");
    narrowGather = modules.function(SOURCE, "quantize_gather_fp8_narrow");
    tiles = modules.function(SOURCE, "quantize_tiles_fp8");
  }

  /** Bytes of the codes of so many padded rows. */
  static long codeBytes(int paddedRows, int k) {
    return (long) paddedRows * WeightFormat.FP8.paddedColumns(k);
  }

  /** Bytes of their scales, at most. */
  static long scaleBytes(int paddedRows, int k) {
    return 4L * paddedRows * WeightFormat.FP8.kTiles(k);
  }

  /** As {@code input_scales.cuh} counts them. */
  static int recipe(InputScaling inputs) {
    return switch (inputs.kind()) {
      case PER_ROW -> 0;
      case BLOCK_128 -> 1;
      case BLOCK_128_POW2 -> 2;
      case STATIC -> 3;
      case MX_32 -> 4;
    };
  }

  private KernelLauncher begin(GemmKernels.Tokens to) {
    return launcher.begin().add(to.tiles()).add(to.scales());
  }

  private void launch(KernelFunction kernel, InputScaling inputs, WeightRole role, int paddedRows) {
    launcher
        .add(recipe(inputs))
        .add(inputs.scale())
        .add(saturation.counter(role))
        .launch(kernel, paddedRows, THREADS);
  }

  /** Rows of a projection, row-major, into token tiles. */
  void rows(
      GemmKernels.Tokens to,
      long x,
      int count,
      int width,
      int maxTileRows,
      InputScaling inputs,
      int paddedRows) {
    begin(to).add(x).add(count).add(width).add(maxTileRows);
    launch(width <= NARROW_COLUMNS ? narrowRows : rows, inputs, WeightRole.LINEAR, paddedRows);
  }

  /** Where the rows of all experts come from. */
  record Routed(long plan, long rowPair, int experts, int paddedRows) {}

  /** The experts' rows, each from its token's. */
  void gather(
      GemmKernels.Tokens to, long x, Routed routed, int perToken, int width, InputScaling inputs) {
    begin(to)
        .add(x)
        .add(routed.plan())
        .add(routed.rowPair())
        .add(routed.experts())
        .add(perToken)
        .add(width);
    KernelFunction kernel = width <= NARROW_COLUMNS ? narrowGather : gather;
    launch(kernel, inputs, WeightRole.EXPERTS_GATE_UP, routed.paddedRows());
  }

  /** The experts' rows from token tiles of bf16. */
  void tiles(GemmKernels.Tokens to, long from, Routed routed, int tokenTiles, InputScaling inputs) {
    begin(to)
        .add(from)
        .add(routed.plan())
        .add(routed.rowPair())
        .add(routed.experts())
        .add(tokenTiles);
    launch(tiles, inputs, WeightRole.EXPERTS_DOWN, routed.paddedRows());
  }
}
