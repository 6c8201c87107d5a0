package dev.gregale.checkpoint;

import static dev.gregale.tensor.WeightScaling.WHOLE;

import dev.gregale.tensor.DType;
import dev.gregale.tensor.InputScaling;
import dev.gregale.tensor.InputScaling.Kind;
import dev.gregale.tensor.InputScaling.When;
import dev.gregale.tensor.WeightScaling;
import java.util.List;
import java.util.Set;
import java.util.stream.Stream;
import org.jspecify.annotations.Nullable;
import tools.jackson.databind.JsonNode;

/**
 * What the {@code quantization_config} of a {@code config.json} says of a checkpoint whose weights
 * are E4M3 codes, and under which names their scales are stored. Three families are known: {@code
 * fp8} (Hugging Face's fine-grained FP8, vLLM's and AutoFP8's FP8), {@code compressed-tensors} and
 * {@code modelopt}.
 *
 * @param method of the file
 * @param scaling of the weights; its inputs' scale is the checkpoint's where it brings one
 * @param scaleNames what may take the place of {@code weight} in a scale's name
 * @param inputScaleNames the same of a fixed scale of inputs; empty where there is none
 */
public record QuantizationConfig(
    String method, WeightScaling scaling, List<String> scaleNames, List<String> inputScaleNames) {
  /** A method whose single scales are vectors of one; others' are scalars. */
  public static final String COMPRESSED_TENSORS = "compressed-tensors";

  /** Of {@code config.json}. */
  public static final String KEY = "quantization_config";

  /** AutoFP8's, Hugging Face's, and AutoFP8's until vLLM 0.5. */
  private static final List<String> FP8_INPUT_SCALES =
      List.of("input_scale", "activation_scale", "act_scale");

  private static final int BLOCK = 128;
  private static final int MX_BLOCK = 32;
  private static final Set<String> FORMATS =
      Set.of("float-quantized", "naive-quantized", "mxfp8-quantized");

  /**
   * @throws CheckpointException if the weights are quantised in a way that is not read
   */
  public static @Nullable QuantizationConfig of(ConfigJson config) {
    if (config.has("compression_config")) {
      throw config.wrong("compression_config", "an object", "none, or a quantization_config");
    }
    ConfigJson json = config.optionalObject(KEY);
    if (json == null) {
      return null;
    }
    String method = json.optionalString("quant_method");
    return switch (method) {
      case "fp8" -> fp8(json);
      case COMPRESSED_TENSORS -> compressedTensors(json);
      case "modelopt" -> modelOpt(json);
      case null, default ->
          throw json.wrong(
              "quant_method",
              method == null ? "none" : method,
              "fp8, compressed-tensors or modelopt; or use the F16 or BF16 checkpoint");
    };
  }

  /** Whether a tensor has the name of a scale of weights or inputs. */
  public boolean isScale(String name) {
    return Stream.concat(scaleNames.stream(), inputScaleNames.stream()).anyMatch(name::endsWith);
  }

  /** As in "fp8, blocks of 128 x 128 with F32 scales, inputs BLOCK_128". */
  @Override
  public String toString() {
    return "%s, blocks of %s x %s with %s scales, inputs %s"
        .formatted(
            method,
            length(scaling.blockRows()),
            length(scaling.blockColumns()),
            scaling.dtype(),
            scaling.inputs().when() == When.NEVER ? "not quantised" : scaling.inputs().kind());
  }

  private static String length(int block) {
    return block == WHOLE ? "all" : Integer.toString(block);
  }

  private static QuantizationConfig fp8(ConfigJson json) {
    String scheme = json.optionalString("activation_scheme");
    boolean isStatic = "static".equals(scheme);
    if (scheme != null && !isStatic && !scheme.equals("dynamic")) {
      throw json.wrong("activation_scheme", scheme, "dynamic or static");
    }
    List<Integer> block = json.optionalInts("weight_block_size");
    if (block == null) {
      return new QuantizationConfig(
          "fp8",
          perTensor(isStatic),
          List.of("weight_scale", "weight_scale_inv"),
          isStatic ? FP8_INPUT_SCALES : List.of());
    }
    if (!block.equals(List.of(BLOCK, BLOCK)) || isStatic) {
      throw json.wrong(
          "weight_block_size",
          block + (isStatic ? " with static activations" : ""),
          "[128, 128] with dynamic activations");
    }
    boolean powersOf2 = "ue8m0".equals(json.optionalString("scale_fmt"));
    return new QuantizationConfig(
        "fp8",
        new WeightScaling(
            DType.F32, BLOCK, BLOCK, inputs(powersOf2 ? Kind.BLOCK_128_POW2 : Kind.BLOCK_128)),
        List.of("weight_scale_inv"),
        List.of());
  }

  private static InputScaling inputs(Kind kind) {
    return InputScaling.of(kind, When.IF_FASTER);
  }

  private static WeightScaling perTensor(boolean isStatic) {
    return WeightScaling.ofWhole(inputs(isStatic ? Kind.STATIC : Kind.PER_ROW));
  }

  private static WeightScaling mx() {
    return new WeightScaling(DType.F8_E8M0, 1, MX_BLOCK, inputs(Kind.MX_32));
  }

  private static QuantizationConfig modelOpt(ConfigJson json) {
    String algorithm = json.optionalString("quant_algo");
    return switch (algorithm) {
      case "FP8" ->
          new QuantizationConfig(
              "modelopt", perTensor(true), List.of("weight_scale"), List.of("input_scale"));
      case "MXFP8" -> new QuantizationConfig("modelopt", mx(), List.of("weight_scale"), List.of());
      case null, default ->
          throw json.wrong("quant_algo", algorithm == null ? "none" : algorithm, "FP8 or MXFP8");
    };
  }

  private static QuantizationConfig compressedTensors(ConfigJson json) {
    String format = json.optionalString("format");
    if (format == null || !FORMATS.contains(format)) {
      throw json.wrong(
          "format",
          format == null ? "none" : format,
          String.join(", ", FORMATS.stream().sorted().toList()));
    }
    JsonNode groups = json.tree().path("config_groups");
    if (groups.size() != 1) {
      throw json.wrong("config_groups", groups.size() + " groups", "one group for all weights");
    }
    ConfigJson all = json.requiredObject("config_groups");
    ConfigJson group = all.requiredObject(groups.propertyNames().iterator().next());
    ConfigJson weights = group.requiredObject("weights");
    requireE4M3(weights);
    InputScaling inputs = compressedInputs(group);
    WeightScaling scaling = compressedWeights(weights, inputs);
    boolean isStatic = inputs.kind() == Kind.STATIC;
    return new QuantizationConfig(
        COMPRESSED_TENSORS,
        scaling,
        List.of("weight_scale"),
        isStatic ? List.of("input_scale") : List.of());
  }

  private static void requireE4M3(ConfigJson tensor) {
    if (tensor.requiredInt("num_bits") != 8
        || !"float".equals(tensor.optionalString("type"))
        || !tensor.optionalBoolean("symmetric", true)) {
      throw tensor.wrong("num_bits", tensor.tree(), "symmetric floats of 8 bits");
    }
  }

  private static WeightScaling compressedWeights(ConfigJson weights, InputScaling inputs) {
    String strategy = weights.optionalString("strategy");
    return switch (strategy) {
      case "tensor" -> WeightScaling.ofWhole(inputs);
      case "channel" -> new WeightScaling(DType.F32, 1, WHOLE, inputs);
      case "block" -> {
        List<Integer> block = weights.optionalInts("block_structure");
        if (!List.of(BLOCK, BLOCK).equals(block)) {
          throw weights.wrong("block_structure", String.valueOf(block), "[128, 128]");
        }
        yield new WeightScaling(DType.F32, BLOCK, BLOCK, inputs);
      }
      case "group" -> {
        requireGroup(weights, MX_BLOCK);
        yield new WeightScaling(DType.F8_E8M0, 1, MX_BLOCK, inputs);
      }
      case null, default ->
          throw weights.wrong(
              "strategy",
              strategy == null ? "none" : strategy,
              "tensor, channel, block or group (of 32, MXFP8)");
    };
  }

  private static void requireGroup(ConfigJson tensor, int size) {
    if (tensor.requiredInt("group_size") != size) {
      throw tensor.wrong("group_size", tensor.requiredInt("group_size"), Integer.toString(size));
    }
  }

  private static InputScaling compressedInputs(ConfigJson group) {
    ConfigJson inputs = group.optionalObject("input_activations");
    if (inputs == null) {
      return InputScaling.of(Kind.PER_ROW, When.NEVER);
    }
    requireE4M3(inputs);
    String strategy = inputs.optionalString("strategy");
    if (!inputs.optionalBoolean("dynamic", false)) {
      if (!"tensor".equals(strategy)) {
        throw inputs.wrong("strategy", String.valueOf(strategy), "tensor, where not dynamic");
      }
      return inputs(Kind.STATIC);
    }
    return switch (strategy) {
      case "tensor", "token" -> inputs(Kind.PER_ROW);
      case "group" -> {
        if (inputs.requiredInt("group_size") == BLOCK) {
          yield inputs(Kind.BLOCK_128);
        }
        requireGroup(inputs, MX_BLOCK);
        yield inputs(Kind.MX_32);
      }
      case null, default ->
          throw inputs.wrong("strategy", String.valueOf(strategy), "tensor, token or group");
    };
  }
}
