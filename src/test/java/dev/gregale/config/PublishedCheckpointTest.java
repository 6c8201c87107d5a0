package dev.gregale.config;

import static org.assertj.core.api.Assertions.assertThat;

import dev.gregale.config.RawTensors.Raw;
import dev.gregale.convert.CheckpointConverter;
import dev.gregale.convert.ConversionRequest;
import dev.gregale.quantization.Quantization;
import dev.gregale.tensor.DType;
import dev.gregale.tensor.InputScaling.When;
import dev.gregale.tensor.Shape;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.file.Path;
import java.util.Map;
import java.util.function.BiConsumer;
import java.util.stream.Stream;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;

/**
 * The forms in which FP8 checkpoints of Mixtral are published, after the programs that write them:
 * the same codes and scales under other names, in other shapes and types, are the same model; and
 * each goes to TransformerEngine's layout and comes back as it was.
 */
class PublishedCheckpointTest extends QuantizedFixture {
  private static final String LINEAR =
      """
      {"quant_method": "compressed-tensors", "format": "float-quantized", "ignore": ["lm_head"],
       "kv_cache_scheme": null, "quantization_status": "compressed",
       "config_groups": {"group_0": {"targets": ["Linear"], "output_activations": null,
         "weights": {"actorder": null, "block_structure": %s, "dynamic": false,
           "group_size": null, "num_bits": 8, "observer": "minmax", "observer_kwargs": {},
           "strategy": "%s", "symmetric": true, "type": "float"},
         "input_activations": {"actorder": null, "block_structure": null, "dynamic": %s,
           "group_size": %s, "num_bits": 8, "observer": null, "observer_kwargs": {},
           "strategy": "%s", "symmetric": true, "type": "float"}}}}
      """;

  /**
   * One such form.
   *
   * @param change to a scale of our own export
   */
  private record Form(
      String program,
      Quantization quantization,
      String config,
      BiConsumer<Map<String, Raw>, String> change) {
    @Override
    public String toString() {
      return program;
    }
  }

  private static Stream<Form> forms() {
    String fp8 =
        """
        {"quant_method": "fp8", "activation_scheme": "%s",
         "ignored_layers": ["lm_head", "model.layers.0.block_sparse_moe.gate"]}
        """;
    String blocks =
        """
        {"quant_method": "fp8", "activation_scheme": "dynamic", "fmt": "e4m3",
         "weight_block_size": [128, 128]%s}
        """;
    String modelOpt =
        """
        {"quant_method": "modelopt", "quant_algo": "%s", "kv_cache_scheme":
         {"dynamic": false, "num_bits": 8, "type": "float"}, "exclude_modules": ["lm_head"],
         "producer": {"name": "modelopt", "version": "0.39.0"}}
        """;
    return Stream.of(
        new Form("AutoFP8, dynamic", Quantization.FP8, fp8.formatted("dynamic"), scalar()),
        new Form(
            "AutoFP8, static, with scales of a KV cache",
            Quantization.FP8,
            fp8.formatted("static").replace("}", ", \"kv_cache_scheme\": \"static\"}"),
            scalar().andThen(withInputs("input_scale", Shape.of())).andThen(withCacheScales())),
        new Form(
            "AutoFP8, static, before vLLM 0.5",
            Quantization.FP8,
            fp8.formatted("static"),
            scalar().andThen(withInputs("act_scale", Shape.of()))),
        new Form(
            "transformers, static",
            Quantization.FP8,
            fp8.formatted("static"),
            scalar()
                .andThen(withInputs("activation_scale", Shape.of()))
                .andThen((tensors, name) -> rename(tensors, name, name + "_inv"))),
        new Form("DeepSeek", Quantization.FP8_BLOCK, blocks.formatted(""), (tensors, name) -> {}),
        new Form(
            "DeepSeek, scales in BF16",
            Quantization.FP8_BLOCK,
            blocks.formatted(", \"scale_fmt\": \"ue8m0\""),
            PublishedCheckpointTest::toBf16),
        new Form(
            "llm-compressor, FP8",
            Quantization.FP8,
            LINEAR.formatted("null", "tensor", "false", "null", "tensor"),
            withInputs("input_scale", Shape.of(1))),
        new Form(
            "llm-compressor, FP8_DYNAMIC",
            Quantization.FP8,
            LINEAR.formatted("null", "channel", "true", "null", "token"),
            PublishedCheckpointTest::byChannel),
        new Form(
            "llm-compressor, FP8_BLOCK",
            Quantization.FP8_BLOCK,
            LINEAR.formatted("[128, 128]", "block", "true", "128", "group"),
            (tensors, name) -> {
              toBf16(tensors, name);
              rename(tensors, name, name.replace("_inv", ""));
            }),
        new Form(
            "modelopt, FP8",
            Quantization.FP8,
            modelOpt.formatted("FP8"),
            scalar().andThen(withInputs("input_scale", Shape.of()))),
        new Form(
            "modelopt, MXFP8",
            Quantization.MXFP8,
            modelOpt.formatted("MXFP8"),
            (tensors, name) ->
                tensors.computeIfPresent(
                    name, (n, raw) -> new Raw(DType.F8_E8M0, raw.shape(), raw.bytes()))));
  }

  private static BiConsumer<Map<String, Raw>, String> scalar() {
    return (tensors, name) ->
        tensors.put(name, new Raw(DType.F32, Shape.of(), get(tensors, name).bytes()));
  }

  private static BiConsumer<Map<String, Raw>, String> withInputs(String inputName, Shape shape) {
    return (tensors, name) ->
        addInputScale(tensors, name, inputName, Raw.floats(shape, name.length() / 1000f));
  }

  private static BiConsumer<Map<String, Raw>, String> withCacheScales() {
    return (tensors, name) -> {
      if (name.endsWith("self_attn.k_proj.weight_scale")) {
        String attention = name.substring(0, name.indexOf("k_proj"));
        tensors.put(attention + "kv_scale", Raw.floats(Shape.of(), 0.5f));
        tensors.put(attention + "k_proj.output_scale", Raw.floats(Shape.of(), 0.5f));
      }
    };
  }

  /** The scales are powers of two, which are exact. */
  private static void toBf16(Map<String, Raw> tensors, String name) {
    Raw raw = get(tensors, name);
    ByteBuffer wide = ByteBuffer.wrap(raw.bytes()).order(ByteOrder.LITTLE_ENDIAN);
    ByteBuffer narrow = ByteBuffer.allocate(raw.bytes().length / 2).order(ByteOrder.LITTLE_ENDIAN);
    while (wide.hasRemaining()) {
      narrow.putShort((short) (wide.getInt() >>> 16));
    }
    tensors.put(name, new Raw(DType.BF16, raw.shape(), narrow.array()));
  }

  /** Every row with the scale of all. */
  private static void byChannel(Map<String, Raw> tensors, String name) {
    int rows = get(tensors, name.replace("_scale", "")).shape().intDim(0);
    byte[] one = get(tensors, name).bytes();
    ByteBuffer all = ByteBuffer.allocate(one.length * rows);
    for (int row = 0; row < rows; row++) {
      all.put(one);
    }
    tensors.put(name, new Raw(DType.F32, Shape.of(rows, 1), all.array()));
  }

  private Path carry(Path source, String name) throws IOException {
    Path target = folder.resolve(name);
    new CheckpointConverter(null).convert(ConversionRequest.of(source, target), progress -> {});
    return target;
  }

  @ParameterizedTest
  @MethodSource("forms")
  void isTheSameModel(Form form) throws IOException {
    Path published = convert(ODD, form.quantization(), null);
    editScales(published, form.change());
    setConfig(published, form.config());
    assertSame(
        logits(published, Quantization.NONE, When.NEVER),
        logits(ODD, form.quantization(), When.NEVER));
    Path te = carry(published, "te");
    assertSame(
        logits(te, Quantization.NONE, When.ALWAYS),
        logits(published, Quantization.NONE, When.ALWAYS));
    Path back = carry(te, "back");
    Map<String, Raw> expected = RawTensors.read(published.resolve("model.safetensors"));
    expected.keySet().removeIf(name -> name.matches(".*(kv_scale|output_scale)"));
    assertSameTensors(RawTensors.read(back.resolve("model.safetensors")), expected);
    assertThat(config(back).get("quantization_config"))
        .isEqualTo(config(published).get("quantization_config"));
  }
}
