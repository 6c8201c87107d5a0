package dev.gregale.quantization;

import dev.gregale.tensor.E4M3;
import dev.gregale.tensor.InputScaling;
import dev.gregale.tensor.WeightScaling;

/**
 * One fp32 scale per matrix, from its largest value. TransformerEngine's inputs share one scale per
 * batch, which lets a row's result depend on what else is computed; ours have one per row.
 */
public record Float8CurrentScaling() implements Recipe {

  @Override
  public WeightScaling weights(InputScaling.When when) {
    return WeightScaling.ofWhole(InputScaling.of(InputScaling.Kind.PER_ROW, when));
  }

  /**
   * 448 / amax, computed as PyTorch does and our reference values are: the reciprocal, rounded,
   * times 448, rounded. TransformerEngine's kernel divides once; the two differ by one unit in the
   * last place at most. 1 where amax is zero or infinite.
   */
  @Override
  public float scale(float amax) {
    if (!(amax > 0) || amax == Float.POSITIVE_INFINITY) {
      return 1;
    }
    return Math.min(1 / amax * E4M3.MAX, Float.MAX_VALUE);
  }
}
