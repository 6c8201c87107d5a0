package dev.gregale.convert;

import dev.gregale.checkpoint.CheckpointLayout;
import dev.gregale.checkpoint.ConfigJson;
import dev.gregale.checkpoint.ModelDimensions;
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
 * @param excluded names of the weights that are left as they are, router and head not counted
 * @param config the {@code quantization_config}
 */
record QuantizedFormat(Recipe recipe, Set<String> excluded, ObjectNode config) {
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
      Quantization quantization, ConfigJson config, ModelDimensions dims) {
    Recipe recipe = quantization.recipe();
    if (recipe == null) {
      return null;
    }
    Set<String> excluded = excluded(config, dims);
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
    excluded.forEach(name -> modules.add(name.substring(0, name.length() - SUFFIX.length())));
    modules.forEach(written.putArray(fineGrained ? "modules_to_not_convert" : "ignore")::add);
    return new QuantizedFormat(recipe, excluded, written);
  }

  /** The projections of layers whose {@code layer_precision} is null. */
  private static Set<String> excluded(ConfigJson config, ModelDimensions dims) {
    List<@Nullable String> layers = config.optionalStrings("layer_precision");
    Set<String> excluded = new TreeSet<>();
    CheckpointLayout.HUGGING_FACE.forEachTensor(
        dims,
        (name, shape) -> {
          if (layers != null && CheckpointLayout.isQuantisable(name)) {
            int layer = Integer.parseInt(name.split("\\.")[2]);
            if (layer >= layers.size() || layers.get(layer) == null) {
              excluded.add(name);
            }
          }
        });
    return excluded;
  }

  boolean includes(String name) {
    return CheckpointLayout.isQuantisable(name) && !excluded.contains(name);
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

  /** One scale of a whole matrix is a vector of one. */
  Shape scaleShape(Shape weight) {
    WeightScaling scaling = scaling();
    Shape grid = Shape.of(scaling.gridRows(weight.dim(0)), scaling.gridColumns(weight.dim(1)));
    return scaling.blockRows() == WeightScaling.WHOLE ? Shape.of(grid.numElements()) : grid;
  }
}
