package dev.gregale.convert;

import dev.gregale.checkpoint.CheckpointException;
import dev.gregale.checkpoint.CheckpointLayout;
import dev.gregale.checkpoint.ConfigJson;
import dev.gregale.checkpoint.ExpertRank;
import dev.gregale.checkpoint.QuantizationConfig;
import dev.gregale.tensor.DType;
import java.util.Map;
import java.util.Set;
import org.jspecify.annotations.Nullable;
import tools.jackson.databind.JsonNode;
import tools.jackson.databind.json.JsonMapper;
import tools.jackson.databind.node.ArrayNode;
import tools.jackson.databind.node.ObjectNode;

/**
 * {@code config.json} as transformers writes it for MixtralConfig, or for the NVMixtralConfig of
 * the TransformerEngine edition. Keys that neither knows are kept.
 */
final class ConfigConverter {

  /** Keys that NVMixtralConfig has beside MixtralConfig's, with their defaults. */
  private static final String TE_DEFAULTS =
      """
      {"attn_input_format": "thd", "expert_parallel_size": 1, "layer_precision": null,
       "moe_aux_loss_coeff": 0.0, "self_attn_mask_type": "padding_causal",
       "use_quantized_model_init": false}
      """;

  private static final String TE_AUTO_MAP =
      """
      {"AutoConfig": "modeling_mixtral_te.NVMixtralConfig",
       "AutoModel": "modeling_mixtral_te.NVMixtralModel",
       "AutoModelForCausalLM": "modeling_mixtral_te.NVMixtralForCausalLM"}
      """;

  private static final Map<DType, String> TORCH_NAMES =
      Map.of(DType.BF16, "bfloat16", DType.F16, "float16", DType.F32, "float32");

  private ConfigConverter() {}

  /**
   * The target's config.json.
   *
   * @param dtype of the target's tensors; null: as in the source
   * @param expertParallelSize ranks that experts are dealt out to
   * @param quantization the target's {@code quantization_config}; null: none
   * @param quantised layers with quantised weights
   * @throws CheckpointException if the source is no Mixtral's
   */
  static String convert(
      ConfigJson source,
      CheckpointLayout to,
      @Nullable DType dtype,
      int expertParallelSize,
      @Nullable JsonNode quantization,
      Set<Integer> quantised) {
    String type = source.optionalString("model_type");
    if (!"mixtral".equals(type)) {
      throw source.wrong("model_type", type == null ? "none" : type, "mixtral");
    }
    ObjectNode config = (ObjectNode) source.tree().deepCopy();
    ObjectNode defaults = parse(TE_DEFAULTS);
    if (to == CheckpointLayout.TRANSFORMER_ENGINE) {
      config.putArray("architectures").add("NVMixtralForCausalLM");
      config.set("auto_map", parse(TE_AUTO_MAP));
      for (Map.Entry<String, ?> entry : defaults.properties()) {
        if (!config.has(entry.getKey())) {
          config.set(entry.getKey(), defaults.get(entry.getKey()));
        }
      }
      config.put(ExpertRank.SIZE_KEY, expertParallelSize);
      if (!quantised.isEmpty()) {
        setLayerPrecision(config, quantised);
      }
    } else {
      config.putArray("architectures").add("MixtralForCausalLM");
      config.remove("auto_map");
      config.remove(Set.copyOf(defaults.propertyNames()));
    }
    if (dtype != null) {
      config.put(config.has("torch_dtype") ? "torch_dtype" : "dtype", TORCH_NAMES.get(dtype));
      if (config.has("torch_dtype") && config.has("dtype")) {
        config.put("dtype", TORCH_NAMES.get(dtype));
      }
    }
    if (quantization == null) {
      config.remove(QuantizationConfig.KEY);
    } else {
      config.set(QuantizationConfig.KEY, quantization);
    }
    return PythonJson.write(config);
  }

  /** NVMixtralConfig's list of what each layer is computed in. */
  private static void setLayerPrecision(ObjectNode config, Set<Integer> quantised) {
    ArrayNode list = config.putArray("layer_precision");
    for (int layer = 0; layer < config.get("num_hidden_layers").intValue(); layer++) {
      list.add(quantised.contains(layer) ? "fp8" : null);
    }
  }

  private static ObjectNode parse(String json) {
    return (ObjectNode) JsonMapper.shared().readTree(json);
  }
}
