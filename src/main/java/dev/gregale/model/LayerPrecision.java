package dev.gregale.model;

import static java.util.Objects.requireNonNull;

import dev.gregale.checkpoint.CheckpointException;
import dev.gregale.checkpoint.ConfigJson;
import dev.gregale.checkpoint.QuantizationConfig;
import dev.gregale.quantization.Recipe;
import dev.gregale.tensor.HostScales;
import dev.gregale.tensor.HostTensor;
import dev.gregale.tensor.InputScaling;
import dev.gregale.tensor.InputScaling.When;
import dev.gregale.tensor.WeightScaling;
import java.util.List;
import org.jspecify.annotations.Nullable;

/**
 * A {@link Precision}, layer by layer: NVMixtralConfig's {@code layer_precision} names the layers
 * that a recipe is for ("fp8") and those that stay as they are (null). Without it a recipe is for
 * all.
 */
final class LayerPrecision {
  private static final String KEY = "layer_precision";
  private static final String QUANTISED = "fp8";

  private final Precision precision;
  private final @Nullable List<@Nullable String> layers;
  private final @Nullable WeightScaling stored;

  private LayerPrecision(
      Precision precision,
      @Nullable List<@Nullable String> layers,
      @Nullable WeightScaling stored) {
    this.precision = precision;
    this.layers = layers;
    this.stored = stored;
  }

  /**
   * @param quantization how the checkpoint's weights are quantised already; null: not at all
   * @throws CheckpointException if the list cannot be the model's, or the recipe is not the
   *     checkpoint's
   */
  static LayerPrecision of(
      Precision precision,
      ConfigJson config,
      int numLayers,
      @Nullable QuantizationConfig quantization) {
    List<@Nullable String> layers = config.optionalStrings(KEY);
    if (layers != null && layers.size() != numLayers) {
      throw config.wrong(KEY, layers.size() + " entries", numLayers + ", one for each layer");
    }
    for (int i = 0; layers != null && i < layers.size(); i++) {
      String name = layers.get(i);
      if (name != null && !name.equals(QUANTISED)) {
        throw config.wrong(KEY, name, "\"fp8\" or null for each layer");
      }
    }
    Recipe recipe = precision.recipe();
    if (recipe != null && quantization != null) {
      requireSame(config, recipe, quantization);
    }
    return new LayerPrecision(
        precision, layers, quantization == null ? null : quantization.scaling());
  }

  private static void requireSame(
      ConfigJson config, Recipe recipe, QuantizationConfig quantization) {
    WeightScaling wanted = recipe.weights(When.NEVER);
    WeightScaling found = quantization.scaling();
    if (!wanted.with(found.inputs()).equals(found)) {
      throw config.wrong(
          "quantization_config",
          quantization.method() + " with " + found,
          wanted
              + ", which the quantization asked for has; leave it out to take the weights as"
              + " they are stored");
    }
  }

  private boolean isListed(int layer) {
    return layers == null || layers.get(layer) != null;
  }

  /** By which a layer's weights are quantised while they are loaded; null: they are not. */
  @Nullable Recipe recipe(int layer) {
    return isListed(layer) ? precision.recipe() : null;
  }

  /** The format that a layer's weights will have, by the configuration; null: not quantised. */
  @Nullable WeightScaling scaling(int layer) {
    Recipe recipe = recipe(layer);
    if (stored != null) {
      return isListed(layer) ? stored : null;
    }
    return recipe == null ? null : recipe.weights(inputs());
  }

  /** For people. */
  @Override
  public String toString() {
    Recipe recipe = precision.recipe();
    if (stored == null && recipe == null) {
      return "weights not quantised";
    }
    return "weights %s, inputs quantised %s"
        .formatted(recipe == null ? "quantised as stored" : recipe, inputs());
  }

  When inputs() {
    return precision.inputs();
  }

  /**
   * A stored quantised weight, whose products quantise their inputs as the recipe asked for does,
   * or else as the checkpoint says: never where it has no scheme for inputs.
   */
  HostTensor stored(HostTensor codes) {
    HostScales scales = requireNonNull(codes.scales());
    InputScaling own = scales.scaling().inputs();
    Recipe recipe = precision.recipe();
    InputScaling inputs =
        recipe != null && own.kind() != InputScaling.Kind.STATIC
            ? recipe.weights(inputs()).inputs()
            : own.when() == When.NEVER ? own : new InputScaling(own.kind(), inputs(), own.scale());
    return new HostTensor(
        codes.name(), codes.dtype(), codes.shape(), codes.slabs(), scales.with(inputs));
  }
}
