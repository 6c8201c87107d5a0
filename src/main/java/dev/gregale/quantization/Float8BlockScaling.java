package dev.gregale.quantization;

import dev.gregale.tensor.DType;
import dev.gregale.tensor.InputScaling;
import dev.gregale.tensor.WeightScaling;

/**
 * One fp32 scale per block of 128 x 128 weights, and per 128 inputs of a row.
 *
 * @param powerOf2Scales scales are rounded to powers of two, so that no value grows beyond the
 *     largest code: TransformerEngine's default, which NVTE_FP8_BLOCK_SCALING_FP32_SCALES lifts
 */
public record Float8BlockScaling(boolean powerOf2Scales) implements Recipe {
  static final int BLOCK = 128;
  private static final int SIGN_AND_EXPONENT = 0xff800000;
  private static final Float8CurrentScaling EXACT = new Float8CurrentScaling();

  @Override
  public WeightScaling weights(InputScaling.When when) {
    InputScaling.Kind inputs =
        powerOf2Scales ? InputScaling.Kind.BLOCK_128_POW2 : InputScaling.Kind.BLOCK_128;
    return new WeightScaling(DType.F32, BLOCK, BLOCK, InputScaling.of(inputs, when));
  }

  @Override
  public float scale(float amax) {
    float exact = EXACT.scale(amax);
    return powerOf2Scales
        ? Float.intBitsToFloat(Float.floatToRawIntBits(exact) & SIGN_AND_EXPONENT)
        : exact;
  }
}
