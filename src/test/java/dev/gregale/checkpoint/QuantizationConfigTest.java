package dev.gregale.checkpoint;

import static dev.gregale.tensor.WeightScaling.WHOLE;
import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import dev.gregale.tensor.DType;
import dev.gregale.tensor.InputScaling;
import dev.gregale.tensor.InputScaling.Kind;
import dev.gregale.tensor.InputScaling.When;
import dev.gregale.tensor.WeightScaling;
import java.nio.file.Path;
import java.util.List;
import java.util.Objects;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

/** The quantization_config of published checkpoints. */
class QuantizationConfigTest {
  @TempDir private Path directory;

  private ConfigJson config(String quantization) {
    return ConfigJson.read(
        Golden.write(directory, "config.json", "{\"quantization_config\":" + quantization + "}"));
  }

  private QuantizationConfig read(String quantization) {
    return Objects.requireNonNull(QuantizationConfig.of(config(quantization)));
  }

  private static WeightScaling scaling(DType dtype, int rows, int columns, Kind inputs) {
    return new WeightScaling(dtype, rows, columns, InputScaling.of(inputs, When.IF_FASTER));
  }

  @Test
  void none() {
    assertThat(QuantizationConfig.of(config("null"))).isNull();
  }

  /** As in RedHatAI/Mixtral-8x7B-Instruct-v0.1-FP8, made by AutoFP8. */
  @Test
  void staticPerTensor() {
    QuantizationConfig found =
        read(
            """
            {"activation_scheme": "static", "quant_method": "fp8",
             "ignored_layers": ["lm_head", "model.layers.0.block_sparse_moe.gate"]}
            """);
    assertThat(found.scaling()).isEqualTo(scaling(DType.F32, WHOLE, WHOLE, Kind.STATIC));
    assertThat(found.scaleNames()).containsExactly("weight_scale", "weight_scale_inv");
    assertThat(found.inputScaleNames())
        .containsExactly("input_scale", "activation_scale", "act_scale");
  }

  @Test
  void dynamicPerTensor() {
    QuantizationConfig found =
        read("{\"activation_scheme\": \"dynamic\", \"quant_method\": \"fp8\"}");
    assertThat(found.scaling()).isEqualTo(scaling(DType.F32, WHOLE, WHOLE, Kind.PER_ROW));
    assertThat(found.inputScaleNames()).isEmpty();
  }

  @Test
  void fineGrained() {
    String block =
        "{\"quant_method\": \"fp8\", \"weight_block_size\": [128, 128], \"scale_fmt\": %s}";
    QuantizationConfig fp32 = read(block.formatted("null"));
    assertThat(fp32.scaling()).isEqualTo(scaling(DType.F32, 128, 128, Kind.BLOCK_128));
    assertThat(fp32.scaleNames()).isEqualTo(List.of("weight_scale_inv"));
    assertThat(read(block.formatted("\"ue8m0\"")).scaling().inputs().kind())
        .isEqualTo(Kind.BLOCK_128_POW2);
  }

  private QuantizationConfig compressed(String format, String weights, String inputs) {
    String args = "\"num_bits\": 8, \"type\": \"float\", \"symmetric\": true, ";
    return read(
        """
        {"quant_method": "compressed-tensors", "format": "%s", "config_groups": {"group_0":
          {"targets": ["Linear"], "weights": {%s}, "input_activations": %s}}}
        """
            .formatted(
                format,
                args + weights,
                inputs.equals("null") ? inputs : "{" + args + inputs + "}"));
  }

  @Test
  void compressedTensors() {
    String tensor = "\"strategy\": \"tensor\", \"dynamic\": %s";
    String group = "\"strategy\": \"group\", \"group_size\": 32, \"dynamic\": true";
    assertThat(
            compressed("float-quantized", tensor.formatted(false), tensor.formatted(true))
                .scaling())
        .isEqualTo(scaling(DType.F32, WHOLE, WHOLE, Kind.PER_ROW));
    QuantizationConfig frozen =
        compressed("float-quantized", tensor.formatted(false), tensor.formatted(false));
    assertThat(frozen.scaling().inputs().kind()).isEqualTo(Kind.STATIC);
    assertThat(frozen.inputScaleNames()).containsExactly("input_scale");
    assertThat(
            compressed(
                    "float-quantized",
                    "\"strategy\": \"channel\"",
                    "\"strategy\": \"token\", \"dynamic\": true")
                .scaling())
        .isEqualTo(scaling(DType.F32, 1, WHOLE, Kind.PER_ROW));
    assertThat(
            compressed(
                    "float-quantized",
                    "\"strategy\": \"block\", \"block_structure\": [128, 128]",
                    "\"strategy\": \"group\", \"group_size\": 128, \"dynamic\": true")
                .scaling())
        .isEqualTo(scaling(DType.F32, 128, 128, Kind.BLOCK_128));
    assertThat(compressed("mxfp8-quantized", group, group).scaling())
        .isEqualTo(scaling(DType.F8_E8M0, 1, 32, Kind.MX_32));
    assertThat(compressed("float-quantized", tensor.formatted(false), "null").scaling().inputs())
        .isEqualTo(InputScaling.of(Kind.PER_ROW, When.NEVER));
  }

  @Test
  void modelOpt() {
    assertThat(read("{\"quant_method\": \"modelopt\", \"quant_algo\": \"FP8\"}").scaling())
        .isEqualTo(scaling(DType.F32, WHOLE, WHOLE, Kind.STATIC));
    assertThat(read("{\"quant_method\": \"modelopt\", \"quant_algo\": \"MXFP8\"}").scaling())
        .isEqualTo(scaling(DType.F8_E8M0, 1, 32, Kind.MX_32));
  }

  @ParameterizedTest
  @CsvSource(
      delimiter = '|',
      quoteCharacter = '`',
      textBlock =
          """
          {} | quant_method: found 'none', expected fp8, compressed-tensors or modelopt
          {"quant_method":"gptq"} | quant_method: found 'gptq'
          {"quant_method":"fp8","activation_scheme":"odd"} | activation_scheme: found 'odd', expected dynamic or static
          {"quant_method":"fp8","weight_block_size":[64,128]} | weight_block_size: found '[64, 128]', expected [128, 128]
          {"quant_method":"fp8","weight_block_size":[128,128],"activation_scheme":"static"} | weight_block_size
          {"quant_method":"modelopt","quant_algo":"NVFP4"} | quant_algo: found 'NVFP4', expected FP8 or MXFP8
          {"quant_method":"compressed-tensors","format":"pack-quantized"} | format: found 'pack-quantized'
          {"quant_method":"compressed-tensors","format":"float-quantized","config_groups":{}} | config_groups: found '0 groups'
          {"quant_method":"compressed-tensors","format":"float-quantized","config_groups":{"g":{"weights":{"num_bits":4,"type":"float"}}}} | symmetric floats of 8 bits
          {"quant_method":"compressed-tensors","format":"float-quantized","config_groups":{"g":{"weights":{"num_bits":8,"type":"int"}}}} | symmetric floats of 8 bits
          {"quant_method":"compressed-tensors","format":"float-quantized","config_groups":{"g":{"weights":{"num_bits":8,"type":"float","strategy":"group","group_size":16}}}} | group_size: found '16', expected 32
          """)
  void refuses(String quantization, String message) {
    ConfigJson config = config(quantization);
    assertThatThrownBy(() -> QuantizationConfig.of(config))
        .isInstanceOf(CheckpointException.class)
        .hasMessageContaining(message);
  }

  @Test
  void refusesTheOlderKey() {
    ConfigJson config =
        ConfigJson.read(
            Golden.write(directory, "config.json", "{\"compression_config\":{\"a\":1}}"));
    assertThatThrownBy(() -> QuantizationConfig.of(config))
        .isInstanceOf(CheckpointException.class)
        .hasMessageContaining("compression_config");
  }
}
