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
    if (scales == null) {
      return BF16;
    }
    InputScaling inputs = scales.inputs();
    boolean always = inputs.when() == InputScaling.When.ALWAYS;
    boolean fits = weight.shape().intDim(weight.shape().rank() - 1) <= InputQuantizer.MAX_COLUMNS;
    boolean quantizes =
        always || (ifFaster && fits && inputs.when() == InputScaling.When.IF_FASTER);
    if (always && !fits) {
      throw new IllegalArgumentException(
          "no CUDA kernel quantises inputs of more than %d columns, as of %s"
              .formatted(InputQuantizer.MAX_COLUMNS, weight.shape()));
    }
    if (scales.format() == WeightFormat.MXFP8) {
      if (always && inputs.kind() != InputScaling.Kind.MX_32) {
        throw new IllegalArgumentException(
            "no CUDA kernel multiplies MXFP8 weights by inputs quantised " + inputs.kind());
      }
      return MXFP8_BF16;
    }
    if (!quantizes) {
      return FP8_BF16;
    }
    return switch (inputs.kind()) {
      case PER_ROW, STATIC -> FP8_ROWS;
      case BLOCK_128, BLOCK_128_POW2 -> FP8_BLOCKS;
      case MX_32 -> FP8_BF16; // rounded, in bf16
    };
  }

  /** Whether inputs are rounded to MXFP8 before a product in bf16. */
  static boolean roundsInputs(CudaTensor weight) {
    CodeScales scales = weight.scales();
    return scales != null
        && weight.alwaysQuantizesInputs()
        && scales.inputs().kind() == InputScaling.Kind.MX_32;
  }
}
