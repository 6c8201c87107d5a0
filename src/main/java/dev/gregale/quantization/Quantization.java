package dev.gregale.quantization;

import org.jspecify.annotations.Nullable;

/** The recipes under the names that users give. */
public enum Quantization {
  /** As stored. */
  NONE(null),
  /** One scale per matrix. */
  FP8(new Float8CurrentScaling()),
  /** One scale, a power of two, per 128 x 128 block. */
  FP8_BLOCK(new Float8BlockScaling(true)),
  /** One scale, a power of two, per 32 values of a row. */
  MXFP8(new MXFP8BlockScaling(MXFP8BlockScaling.Rounding.UP));

  private final @Nullable Recipe recipe;

  Quantization(@Nullable Recipe recipe) {
    this.recipe = recipe;
  }

  /** Null for {@link #NONE}. */
  public @Nullable Recipe recipe() {
    return recipe;
  }
}
