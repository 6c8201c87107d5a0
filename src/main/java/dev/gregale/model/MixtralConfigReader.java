package dev.gregale.model;

import dev.gregale.checkpoint.ConfigJson;
import dev.gregale.checkpoint.ModelDimensions;
import dev.gregale.tensor.DType;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Set;
import org.jspecify.annotations.Nullable;

/**
 * Reads a {@link MixtralConfig}. Optional keys have the defaults of Hugging Face's MixtralConfig;
 * what would change the forward pass in a way that is not implemented is refused.
 */
final class MixtralConfigReader {

  private static final double DEFAULT_ROPE_THETA = 1e6;
  private static final double DEFAULT_RMS_NORM_EPS = 1e-5;
  private static final Set<String> CAUSAL_MASKS =
      Set.of("causal", "padding_causal", "causal_bottom_right", "padding_causal_bottom_right");

  private final ConfigJson json;
  private final @Nullable ConfigJson generation;

  private MixtralConfigReader(ConfigJson json, @Nullable ConfigJson generation) {
    this.json = json;
    this.generation = generation;
  }

  static MixtralConfig read(Path directory) {
    ConfigJson json = ConfigJson.read(directory.resolve("config.json"));
    Path generation = directory.resolve("generation_config.json");
    return new MixtralConfigReader(
            json, Files.exists(generation) ? ConfigJson.read(generation) : null)
        .config();
  }

  private MixtralConfig config() {
    requireSupported();
    int heads = json.requiredInt("num_attention_heads");
    Integer keyValueHeads = json.optionalInt("num_key_value_heads");
    Integer slidingWindow = json.optionalInt("sliding_window");
    if (slidingWindow != null && slidingWindow < 1) {
      throw json.wrong("sliding_window", slidingWindow, "null or 1 and more");
    }
    Double rmsNormEps = json.optionalNumber("rms_norm_eps");
    try {
      return new MixtralConfig(
          json.requiredInt("vocab_size"),
          json.requiredInt("hidden_size"),
          json.requiredInt("intermediate_size"),
          json.requiredInt("num_hidden_layers"),
          heads,
          keyValueHeads == null ? heads : keyValueHeads,
          ModelDimensions.headDim(json, heads),
          json.requiredInt("num_local_experts"),
          json.requiredInt("num_experts_per_tok"),
          json.requiredInt("max_position_embeddings"),
          (float) (rmsNormEps == null ? DEFAULT_RMS_NORM_EPS : rmsNormEps),
          ropeTheta(),
          slidingWindow == null ? 0 : slidingWindow,
          json.optionalBoolean("tie_word_embeddings", false),
          dtype(),
          json.optionalInt("bos_token_id"),
          eosTokenIds());
    } catch (IllegalArgumentException e) {
      throw json.invalid(e);
    }
  }

  private void requireSupported() {
    requireOneOf("model_type", json.optionalString("model_type"), Set.of("mixtral"));
    String activation = json.optionalString("hidden_act");
    requireOneOf("hidden_act", activation == null ? "silu" : activation, Set.of("silu"));
    String mask = json.optionalString("self_attn_mask_type");
    requireOneOf("self_attn_mask_type", mask == null ? "causal" : mask, CAUSAL_MASKS);
  }

  private void requireOneOf(String key, @Nullable String found, Set<String> allowed) {
    if (found == null || !allowed.contains(found)) {
      throw json.wrong(
          key,
          found == null ? "none" : found,
          String.join(" or ", allowed.stream().sorted().toList()));
    }
  }

  /** Top level in files of transformers 4, within {@code rope_parameters} since 5. */
  private double ropeTheta() {
    Double theta = json.optionalNumber("rope_theta");
    for (String key : List.of("rope_parameters", "rope_scaling")) {
      ConfigJson rope = json.optionalObject(key);
      if (rope == null) {
        continue;
      }
      requireDefaultRope(rope);
      Double nested = rope.optionalNumber("rope_theta");
      if (theta != null && nested != null && !theta.equals(nested)) {
        throw rope.wrong("rope_theta", nested, "the same as the other rope_theta, " + theta);
      }
      theta = theta == null ? nested : theta;
    }
    return theta == null ? DEFAULT_ROPE_THETA : theta;
  }

  private static void requireDefaultRope(ConfigJson rope) {
    for (String key : List.of("rope_type", "type")) {
      String type = rope.optionalString(key);
      if (type != null && !type.equals("default")) {
        throw rope.wrong(key, type, "default");
      }
    }
    Double partial = rope.optionalNumber("partial_rotary_factor");
    if (partial != null && partial != 1) {
      throw rope.wrong("partial_rotary_factor", partial, "1");
    }
  }

  private DType dtype() {
    String older = json.optionalString("torch_dtype");
    String newer = json.optionalString("dtype");
    if (older != null && newer != null && !older.equals(newer)) {
      throw json.wrong("dtype", newer, "the same as torch_dtype, " + older);
    }
    String name = newer != null ? newer : older;
    return switch (name) {
      case null -> DType.BF16;
      case "bfloat16" -> DType.BF16;
      case "float16" -> DType.F16;
      case "float32" -> DType.F32;
      default -> throw json.wrong("dtype", name, "bfloat16, float16 or float32");
    };
  }

  private List<Integer> eosTokenIds() {
    List<Integer> ids = generation == null ? null : generation.optionalInts("eos_token_id");
    if (ids == null) {
      ids = json.optionalInts("eos_token_id");
    }
    return ids == null ? List.of() : ids;
  }
}
