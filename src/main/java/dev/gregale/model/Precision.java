package dev.gregale.model;

import dev.gregale.quantization.Recipe;
import dev.gregale.tensor.InputScaling.When;
import org.jspecify.annotations.Nullable;

/**
 * In what the weights of a run are kept and multiplied.
 *
 * @param recipe by which weights are quantised while they are loaded; null leaves them as the
 *     checkpoint has them, quantised or not
 * @param inputs whether the inputs of products with quantised weights are quantised too
 */
public record Precision(@Nullable Recipe recipe, When inputs) {

  /** As the checkpoint has it. */
  public static final Precision AS_STORED = new Precision(null, When.IF_FASTER);
}
