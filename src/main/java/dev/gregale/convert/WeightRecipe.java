package dev.gregale.convert;

import dev.gregale.quantization.Quantization;

/** Recipes by which weights are quantised, under the names that users give. */
public enum WeightRecipe {
  FP8(Quantization.FP8),
  FP8_BLOCK(Quantization.FP8_BLOCK),
  MXFP8(Quantization.MXFP8);

  private final Quantization quantization;

  WeightRecipe(Quantization quantization) {
    this.quantization = quantization;
  }

  public Quantization quantization() {
    return quantization;
  }
}
