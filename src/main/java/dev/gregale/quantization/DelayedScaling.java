package dev.gregale.quantization;

import dev.gregale.tensor.InputScaling;
import dev.gregale.tensor.WeightScaling;

/**
 * One scale per tensor that was found before, from the history of largest values: in inference
 * TransformerEngine leaves it as the checkpoint has it.
 *
 * @param frozen what codes are multiplied by to get the values back
 */
public record DelayedScaling(float frozen) implements Recipe {

  @Override
  public WeightScaling weights(InputScaling.When when) {
    return WeightScaling.ofWhole(new InputScaling(InputScaling.Kind.STATIC, when, frozen));
  }

  @Override
  public float scale(float amax) {
    return 1 / frozen;
  }

  @Override
  public float inverse(float scale) {
    return frozen;
  }
}
