package dev.gregale.backend.cuda;

import dev.gregale.tensor.InputScaling;

/**
 * The grouped GEMMs of Hopper by what they multiply: {@code grouped_gemm.cuh}, {@code
 * gemm_formats.cuh}.
 */
enum GemmKind {
  BF16("bf16", 256),
  /** Codes by codes, inputs with a scale of each row. */
  FP8_ROWS("fp8_rows", 256),
  /** Codes by codes, inputs with a scale of every 128 columns of a row. */
  FP8_BLOCKS("fp8_blocks", 224),
  FP8_BF16("fp8_bf16", 128),
  MXFP8_BF16("mxfp8_bf16", 128);

  private final String kernel;
  private final int maxTileRows;

  GemmKind(String kernel, int maxTileRows) {
    this.kernel = kernel;
    this.maxTileRows = maxTileRows;
  }

  /** As in the names of kernels. */
  String kernel() {
    return kernel;
  }

  /** The highest token tile. */
  int maxTileRows() {
    return maxTileRows;
  }

  boolean isQuantizingInputs() {
    return this == FP8_ROWS || this == FP8_BLOCKS;
  }

  boolean hasCodes() {
    return this != BF16;
  }

  /** Token tiles along K: codes have 128 columns in a row of 128 bytes, bf16 64. */
  int tokenTiles(int k) {
    return isQuantizingInputs() ? WeightFormat.FP8.kTiles(k) : TiledLayout.kTiles(k);
  }

  /**
   * @param ifFaster whether inputs may be quantised for the sake of speed
   * @throws IllegalArgumentException if no kernel computes what the weight's scaling asks for
   */
  static GemmKind of(CudaTensor weight, boolean ifFaster) {
    CodeScales scales = weight.scales();
    InputScaling inputs = weight.inputs();
    if (scales == null || inputs == null) {
      return BF16;
    }
    boolean always = weight.alwaysQuantizesInputs();
    boolean fits = weight.shape().intDim(weight.shape().rank() - 1) <= InputQuantizer.MAX_COLUMNS;
    boolean quantizes =
        fits && (always || (ifFaster && inputs.when() == InputScaling.When.IF_FASTER));
    GemmKind kind = of(scales.format(), inputs.kind(), quantizes);
    if (always && !kind.isQuantizingInputs() && inputs.kind() != InputScaling.Kind.MX_32) {
      throw new IllegalArgumentException(
          "no CUDA kernel multiplies weights %s %s by inputs quantised %s"
              .formatted(scales.format(), weight.shape(), inputs.kind()));
    }
    return kind;
  }

  private static GemmKind of(WeightFormat format, InputScaling.Kind inputs, boolean quantizes) {
    if (format == WeightFormat.MXFP8) {
      return MXFP8_BF16;
    }
    if (!quantizes) {
      return FP8_BF16;
    }
    return switch (inputs) {
      case PER_ROW, STATIC -> FP8_ROWS;
      case BLOCK_128, BLOCK_128_POW2 -> FP8_BLOCKS;
      case MX_32 -> FP8_BF16; // MXFP8 is exact in bf16
    };
  }
}
