package dev.gregale.convert;

import dev.gregale.checkpoint.CheckpointLayout;
import dev.gregale.checkpoint.ConfigJson;
import dev.gregale.checkpoint.ModelDimensions;
import dev.gregale.checkpoint.ScaleGrid;
import dev.gregale.quantization.Quantization;
import dev.gregale.quantization.Recipe;
import dev.gregale.tensor.DType;
import dev.gregale.tensor.InputScaling.When;
import dev.gregale.tensor.Shape;
import dev.gregale.tensor.WeightScaling;
import java.util.ArrayList;
import java.util.List;
import java.util.Set;
import java.util.TreeSet;
import org.jspecify.annotations.Nullable;
import tools.jackson.databind.json.JsonMapper;
import tools.jackson.databind.node.ObjectNode;

/**
 * How a quantised checkpoint says what it is, in forms that vLLM and Hugging Face's transformers
 * read: {@code fp8-block} as Hugging Face's fine-grained FP8, {@code fp8} and {@code mxfp8} as
 * compressed-tensors.
 *
 * @param recipe of the weights
 * @param layout of the target
 * @param excluded layers whose weights are left as they are
 * @param config the {@code quantization_config}; it names modules as Hugging Face does
 */
record QuantizedFormat(
    Recipe recipe,
    CheckpointLayout layout,
    ModelDimensions dims,
    Set<Integer> excluded,
    ObjectNode config) {
  private static final String SUFFIX = ".weight";

  private static final String FINE_GRAINED =
      """
      {"quant_method": "fp8", "fmt": "e4m3", "activation_scheme": "dynamic",
       "weight_block_size": [128, 128]}
      """;

  private static final String PER_TENSOR =
      """
      {"quant_method": "compressed-tensors", "format": "float-quantized",
       "quantization_status": "compressed", "global_compression_ratio": null,
       "kv_cache_scheme": null,
       "config_groups": {"group_0": {
         "targets": ["Linear"],
         "weights": {"num_bits": 8, "type": "float", "symmetric": true, "dynamic": false,
                     "strategy": "tensor", "scale_dtype": "torch.float32"},
         "input_activations": {"num_bits": 8, "type": "float", "symmetric": true,
                               "dynamic": true, "strategy": "tensor"}}}}
      """;

  private static final String MX =
      """
      {"quant_method": "compressed-tensors", "format": "mxfp8-quantized",
       "quantization_status": "compressed", "global_compression_ratio": null,
       "kv_cache_scheme": null,
       "config_groups": {"group_0": {
         "targets": ["Linear"],
         "weights": {"num_bits": 8, "type": "float", "symmetric": true, "dynamic": false,
                     "strategy": "group", "group_size": 32, "scale_dtype": "torch.uint8"},
         "input_activations": {"num_bits": 8, "type": "float", "symmetric": true,
                               "dynamic": true, "strategy": "group", "group_size": 32,
                               "scale_dtype": "torch.uint8"}}}}
      """;

  /**
   * @param config of the source; its {@code layer_precision} says which layers are left
   * @return null for NONE
   */
  static @Nullable QuantizedFormat of(
      Quantization quantization, ConfigJson config, CheckpointLayout layout, ModelDimensions dims) {
    Recipe recipe = quantization.recipe();
    if (recipe == null) {
      return null;
    }
    Set<Integer> excluded = excluded(config, dims);
    boolean fineGrained = quantization == Quantization.FP8_BLOCK;
    ObjectNode written =
        (ObjectNode)
            JsonMapper.shared()
                .readTree(
                    fineGrained
                        ? FINE_GRAINED
                        : quantization == Quantization.FP8 ? PER_TENSOR : MX);
    List<String> modules = new ArrayList<>(List.of("lm_head"));
    for (int layer = 0; layer < dims.numLayers(); layer++) {
      modules.add("model.layers." + layer + ".block_sparse_moe.gate");
    }
    CheckpointLayout.HUGGING_FACE.forEachTensor(
        dims,
        (name, shape) -> {
          if (CheckpointLayout.isQuantisable(name)
              && excluded.contains(CheckpointLayout.layerOf(name))) {
            modules.add(name.substring(0, name.length() - SUFFIX.length()));
          }
        });
    modules.forEach(written.putArray(fineGrained ? "modules_to_not_convert" : "ignore")::add);
    return new QuantizedFormat(recipe, layout, dims, excluded, written);
  }

  /** Layers whose {@code layer_precision} is null. */
  private static Set<Integer> excluded(ConfigJson config, ModelDimensions dims) {
    List<@Nullable String> layers = config.optionalStrings("layer_precision");
    Set<Integer> excluded = new TreeSet<>();
    for (int layer = 0; layers != null && layer < dims.numLayers(); layer++) {
      if (layer >= layers.size() || layers.get(layer) == null) {
        excluded.add(layer);
      }
    }
    return excluded;
  }

  boolean includes(String name) {
    return CheckpointLayout.isQuantisable(name)
        && !excluded.contains(CheckpointLayout.layerOf(name));
  }

  WeightScaling scaling() {
    return recipe.weights(When.NEVER);
  }

  /** Under which name a weight's scales are stored. */
  String scaleName(String weight) {
    boolean fineGrained = config.has("weight_block_size");
    return weight + (fineGrained ? "_scale_inv" : "_scale");
  }

  /** E8M0 exponents are stored as plain bytes, as in compressed-tensors. */
  DType scaleDType() {
    return scaling().dtype() == DType.F8_E8M0 ? DType.U8 : scaling().dtype();
  }

  /** How a weight's scales are stored. */
  ScaleGrid grid(String weight, Shape shape) {
    return ScaleGrid.of(layout, weight, shape, dims, scaling());
  }
}
