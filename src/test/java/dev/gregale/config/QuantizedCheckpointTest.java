package dev.gregale.config;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import dev.gregale.config.RawTensors.Raw;
import dev.gregale.quantization.Quantization;
import dev.gregale.tensor.DType;
import dev.gregale.tensor.InputScaling.When;
import dev.gregale.tensor.Shape;
import java.io.IOException;
import java.nio.file.Path;
import java.util.List;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

/** Scales of a checkpoint are found under all names in use, and never guessed. */
class QuantizedCheckpointTest extends QuantizedFixture {
  /** As AutoFP8 stores them: a scale of the weights and a fixed one of the inputs. */
  @Test
  void staticScales() throws IOException {
    Path model = convert(DEMO, Quantization.FP8, null);
    setConfig(model, "{\"quant_method\": \"fp8\", \"activation_scheme\": \"static\"}");
    assertRefused(model, "found no scale, expected one named");
    editScales(
        model,
        (tensors, name) -> {
          tensors.put(name, new Raw(DType.F32, Shape.of(), get(tensors, name).bytes()));
          addInputScale(tensors, name, "input_scale", Raw.floats(Shape.of(1), 0.05f));
        });
    List<float[]> weightsOnly = logits(DEMO, Quantization.FP8, When.NEVER);
    assertSame(logits(model, Quantization.NONE, When.NEVER), weightsOnly);
    List<float[]> fixed = logits(model, Quantization.NONE, When.ALWAYS);
    assertThat(fixed.getFirst()).isNotEqualTo(weightsOnly.getFirst());
    assertSame(logits(model, Quantization.FP8, When.ALWAYS), fixed);
    assertRefused(model, Quantization.MXFP8, "quantization_config: found 'fp8 with");
  }

  @ParameterizedTest
  @CsvSource(
      delimiter = '|',
      value = {
        "missing | found no scale, expected one named model.layers.1.",
        "zero | found a scale of 0.0, expected positive numbers",
        "nan | found a scale of NaN",
        "shape | found F32 [3], expected F32, F16 or BF16 [1]",
        "type | found I8 [1], expected F32, F16 or BF16",
        "router | found dtype F8_E4M3, expected F32, F16 or BF16 (this one is never quantised)",
        "mixed | with which it is one matrix",
        "stray | no place in the model",
        "unquantised | but no weight is F8_E4M3",
        "unexplained | but config.json has no quantization_config",
        "codes | 1 values are NaN; the checkpoint is damaged",
      })
  void scalesAreNeverGuessed(String damage, String message) throws IOException {
    Path model = convert(ODD, Quantization.FP8, null);
    String scale = EXPERT + "_scale";
    RawTensors.edit(
        model.resolve("model.safetensors"),
        tensors -> {
          switch (damage) {
            case "missing" -> tensors.remove(scale);
            case "zero" -> tensors.put(scale, Raw.floats(Shape.of(1), 0));
            case "nan" -> tensors.put(scale, Raw.floats(Shape.of(1), Float.NaN));
            case "shape" -> tensors.put(scale, Raw.floats(Shape.of(3), 1, 1, 1));
            case "type" -> tensors.put(scale, new Raw(DType.I8, Shape.of(1), new byte[1]));
            case "router" ->
                tensors.computeIfPresent(
                    "model.layers.1.block_sparse_moe.gate.weight", (name, raw) -> codes(raw));
            case "mixed" -> {
              tensors.remove(scale);
              tensors.computeIfPresent(
                  EXPERT,
                  (name, raw) ->
                      new Raw(DType.BF16, raw.shape(), new byte[2 * raw.bytes().length]));
            }
            case "stray" -> tensors.put("model.norm.weight_scale", Raw.floats(Shape.of(1), 1));
            case "codes" -> get(tensors, EXPERT).bytes()[7] = (byte) 0xff;
            default -> {}
          }
        });
    if (damage.equals("unexplained")) {
      editConfig(model, config -> config.remove("quantization_config"));
    }
    if (damage.equals("unquantised")) {
      model = copy(ODD, "plain");
      setConfig(model, "{\"quant_method\": \"fp8\"}");
    }
    assertRefused(model, message);
  }

  private static Raw codes(Raw raw) {
    return new Raw(DType.F8_E4M3, raw.shape(), new byte[(int) raw.shape().numElements()]);
  }

  private static void assertRefused(Path model, String message) {
    assertRefused(model, Quantization.NONE, message);
  }

  private static void assertRefused(Path model, Quantization quantization, String message) {
    assertThatThrownBy(() -> logits(model, quantization, When.NEVER)).hasMessageContaining(message);
  }

  @Test
  void layerPrecisionMustFitTheModel() throws IOException {
    Path source = copy(ODD, "listed");
    editConfig(source, config -> config.putArray("layer_precision").add("fp8"));
    assertRefused(source, "layer_precision: found '1 entries', expected 2");
    editConfig(source, config -> config.putArray("layer_precision").add("fp4").addNull());
    assertRefused(source, "layer_precision: found 'fp4', expected \"fp8\" or null");
  }
}
