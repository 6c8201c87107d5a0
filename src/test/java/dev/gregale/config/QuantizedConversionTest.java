package dev.gregale.config;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import dev.gregale.checkpoint.CheckpointException;
import dev.gregale.checkpoint.CheckpointLayout;
import dev.gregale.config.RawTensors.Raw;
import dev.gregale.convert.CheckpointConverter;
import dev.gregale.convert.ConversionRequest;
import dev.gregale.quantization.Quantization;
import dev.gregale.tensor.DType;
import dev.gregale.tensor.InputScaling.When;
import dev.gregale.tensor.Shape;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import java.util.Random;
import org.jspecify.annotations.Nullable;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.EnumSource;
import tools.jackson.databind.JsonNode;

/** Codes and scales in either layout, from one to the other and back to values. */
class QuantizedConversionTest extends QuantizedFixture {
  private static final String QKV = "model.layers.1.self_attention.layernorm_qkv.weight";
  private static final String GATE_UP = "model.layers.1.mlp.experts_gate_up_weight";

  private Path convert(
      Path source,
      String name,
      @Nullable CheckpointLayout to,
      @Nullable DType dtype,
      boolean dequantize)
      throws IOException {
    Path target = folder.resolve(name);
    new CheckpointConverter(null)
        .convert(
            new ConversionRequest(
                source,
                target,
                to,
                dtype,
                Quantization.NONE,
                dequantize,
                1L << 30,
                1,
                false,
                false),
            progress -> {});
    return target;
  }

  private Path carry(Path source, String name) throws IOException {
    return convert(source, name, null, null, false);
  }

  private static void assertSameWeights(Path found, Path expected) throws IOException {
    String file = "model.safetensors";
    assertThat(Files.mismatch(found.resolve(file), expected.resolve(file))).isEqualTo(-1);
  }

  /** Quantised into it, or carried into it: the same file, the same logits, and back again. */
  @ParameterizedTest
  @EnumSource(mode = EnumSource.Mode.EXCLUDE, names = "NONE")
  void transformerEngineAndBack(Quantization quantization) throws IOException {
    for (Path source : List.of(DEMO, ODD)) {
      Path hf = convert(source, quantization, CheckpointLayout.HUGGING_FACE);
      Path te = carry(hf, "te-" + source.getFileName());
      Path quantised =
          convert(
              source == ODD ? TE : carry(source, "unquantised-te"),
              quantization,
              CheckpointLayout.TRANSFORMER_ENGINE);
      assertSameWeights(quantised, te);
      assertThat(config(quantised)).isEqualTo(config(te));
      List<float[]> expected = logits(source, quantization, When.ALWAYS);
      assertSame(logits(te, quantization, When.ALWAYS), expected);
      assertSame(
          logits(te, Quantization.NONE, When.NEVER), logits(source, quantization, When.NEVER));
      Path back = carry(te, "back-" + source.getFileName());
      assertSameWeights(back, hf);
      assertThat(config(back)).isEqualTo(config(hf));
      Path again = convert(te, "again-" + source.getFileName(), layout(te), null, false);
      assertSameWeights(again, te);
    }
  }

  private static CheckpointLayout layout(Path te) throws IOException {
    assertThat(config(te).get("architectures").get(0).asString()).isEqualTo("NVMixtralForCausalLM");
    return CheckpointLayout.TRANSFORMER_ENGINE;
  }

  @ParameterizedTest
  @CsvSource({
    "FP8, weight_scale, F32, 3, 8 2",
    "FP8_BLOCK, weight_scale_inv, F32, 4 2, 8 4 2",
    "MXFP8, weight_scale, U8, 320 6, 8 384 6",
  })
  void scalesStandBesideTheirWeight(
      Quantization quantization, String name, DType dtype, String qkv, String gateUp)
      throws IOException {
    Path te = convert(DEMO, quantization, CheckpointLayout.TRANSFORMER_ENGINE);
    Map<String, Raw> tensors = RawTensors.read(te.resolve("model.safetensors"));
    assertThat(get(tensors, QKV).dtype()).isEqualTo(DType.F8_E4M3);
    assertThat(get(tensors, GATE_UP).dtype()).isEqualTo(DType.F8_E4M3);
    Raw scale = get(tensors, QKV.replace("weight", name));
    assertThat(scale.dtype()).isEqualTo(dtype);
    assertThat(scale.shape()).isEqualTo(shape(qkv));
    assertThat(get(tensors, GATE_UP.replace("weight", name)).shape()).isEqualTo(shape(gateUp));
    assertThat(config(te).get("layer_precision").valueStream().map(JsonNode::asString))
        .hasSize(6)
        .containsOnly("fp8");
  }

  private static Shape shape(String dims) {
    return Shape.of(List.of(dims.split(" ")).stream().mapToLong(Long::parseLong).toArray());
  }

  /** As AutoFP8 stores them: scalars, of inputs too. Those of all parts go along. */
  @Test
  void fixedScalesOfInputsGoAlong() throws IOException {
    Path hf = convert(ODD, Quantization.FP8, null);
    setConfig(hf, "{\"quant_method\": \"fp8\", \"activation_scheme\": \"static\"}");
    Random random = new Random(7);
    editScales(
        hf,
        (tensors, name) -> {
          tensors.put(name, new Raw(DType.F32, Shape.of(), get(tensors, name).bytes()));
          Raw fixed = Raw.floats(Shape.of(), random.nextFloat(0.01f, 0.05f));
          addInputScale(tensors, name, "input_scale", fixed);
        });
    Path te = carry(hf, "te");
    Map<String, Raw> tensors = RawTensors.read(te.resolve("model.safetensors"));
    assertThat(get(tensors, QKV.replace("weight", "input_scale")).shape()).isEqualTo(Shape.of(3));
    assertSame(
        logits(te, Quantization.NONE, When.ALWAYS), logits(hf, Quantization.NONE, When.ALWAYS));
    assertSameTensors(
        RawTensors.read(carry(te, "back").resolve("model.safetensors")),
        RawTensors.read(hf.resolve("model.safetensors")));
  }

  /** In fp32 products have the bits of those with the codes. */
  @ParameterizedTest
  @EnumSource(mode = EnumSource.Mode.EXCLUDE, names = "NONE")
  void backToValues(Quantization quantization) throws IOException {
    Path codes = convert(ODD, quantization, null);
    for (CheckpointLayout layout :
        List.of(CheckpointLayout.HUGGING_FACE, CheckpointLayout.TRANSFORMER_ENGINE)) {
      Path values = convert(codes, "fp32-" + layout, layout, DType.F32, true);
      assertThat(config(values).has("quantization_config")).isFalse();
      assertSame(
          logits(values, Quantization.NONE, When.NEVER),
          logits(codes, Quantization.NONE, When.NEVER));
      assertThat(RawTensors.read(values.resolve("model.safetensors")).values())
          .allMatch(raw -> raw.dtype() == DType.F32);
      Path asStored = convert(codes, "stored-" + layout, layout, null, true);
      assertThat(
              get(RawTensors.read(asStored.resolve("model.safetensors")), "lm_head.weight").dtype())
          .isEqualTo(
              get(RawTensors.read(ODD.resolve("model.safetensors")), "lm_head.weight").dtype());
    }
  }

  @Test
  void whatHasNoSenseIsRefusedWithAWayOut() throws IOException {
    Path codes = convert(ODD, Quantization.FP8, null);
    assertThatThrownBy(() -> convert(codes, Quantization.MXFP8, null))
        .isInstanceOf(CheckpointException.class)
        .hasMessageContaining("rounded twice; quantise its source, or dequantise it first");
    assertThatThrownBy(() -> convert(ODD, "values", null, null, true))
        .isInstanceOf(CheckpointException.class)
        .hasMessageContaining("found 'none', expected one where weights are to be dequantised");
    RawTensors.edit(
        codes.resolve("model.safetensors"),
        tensors -> get(tensors, EXPERT).bytes()[7] = (byte) 0xff);
    assertThatThrownBy(() -> convert(codes, "values", null, null, true))
        .isInstanceOf(CheckpointException.class)
        .hasMessageContaining("a value is NaN; the checkpoint is damaged");
  }

  /** Layers that are left as they are, are so in either layout, and the lists say so. */
  @Test
  void layerPrecisionGoesAlong() throws IOException {
    Path listed = copy(ODD, "listed");
    editConfig(listed, config -> config.putArray("layer_precision").addNull().add("fp8"));
    Path te = convert(listed, Quantization.FP8_BLOCK, CheckpointLayout.TRANSFORMER_ENGINE);
    assertThat(config(te).get("layer_precision").toString()).isEqualTo("[null,\"fp8\"]");
    Path hf = carry(te, "hf");
    assertThat(config(carry(hf, "te")).get("layer_precision").toString())
        .isEqualTo("[null,\"fp8\"]");
    assertSame(
        logits(hf, Quantization.NONE, When.NEVER),
        logits(listed, Quantization.FP8_BLOCK, When.NEVER));
  }
}
