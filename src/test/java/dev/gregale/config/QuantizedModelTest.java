package dev.gregale.config;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import dev.gregale.backend.Backend;
import dev.gregale.backend.cpu.CpuBackend;
import dev.gregale.checkpoint.CheckpointLayout;
import dev.gregale.config.RawTensors.Raw;
import dev.gregale.convert.CheckpointConverter;
import dev.gregale.convert.ConversionRequest;
import dev.gregale.model.LoadFormat;
import dev.gregale.model.ModelLoader;
import dev.gregale.model.Precision;
import dev.gregale.model.PromptLogits;
import dev.gregale.model.WeightClass;
import dev.gregale.quantization.Quantization;
import dev.gregale.tensor.DType;
import dev.gregale.tensor.InputScaling.When;
import dev.gregale.tensor.Shape;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.security.MessageDigest;
import java.util.HexFormat;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import org.jspecify.annotations.Nullable;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.EnumSource;
import tools.jackson.databind.JsonNode;
import tools.jackson.databind.json.JsonMapper;
import tools.jackson.databind.node.ObjectNode;

/** A quantised checkpoint is what quantising while loading gives, in the forms that others read. */
class QuantizedModelTest {
  private static final Path DEMO = Path.of("src/main/resources/models/fairytale-moe-7m");
  private static final Path GOLDEN = Path.of("src/test/resources/golden");
  private static final Path TE = GOLDEN.resolve("random/odd0/te");
  private static final Path ODD = GOLDEN.resolve("random/odd0/hf");
  private static final String EXPERT = "model.layers.1.block_sparse_moe.experts.0.w1.weight";
  private static final List<int[]> PROMPTS =
      List.of(new int[] {1, 300, 17, 256, 40, 99, 3}, new int[] {1});

  @TempDir private Path folder;

  private Path convert(Path source, Quantization quantization, @Nullable CheckpointLayout to)
      throws IOException {
    Path target = folder.resolve(quantization + "-" + source.getFileName());
    new CheckpointConverter(null)
        .convert(
            new ConversionRequest(source, target, to, null, quantization, 1L << 30, false, false),
            progress -> {});
    return target;
  }

  private static List<float[]> logits(Path directory, Quantization quantization, When inputs) {
    try (Backend backend = CpuBackend.create(2)) {
      Precision precision = new Precision(quantization.recipe(), inputs);
      return PromptLogits.of(backend, directory, precision, PROMPTS);
    }
  }

  private static void assertSame(List<float[]> found, List<float[]> expected) {
    for (int p = 0; p < PROMPTS.size(); p++) {
      assertThat(found.get(p)).isEqualTo(expected.get(p));
    }
  }

  @ParameterizedTest
  @EnumSource(mode = EnumSource.Mode.EXCLUDE, names = "NONE")
  void convertedIsQuantisedWhileLoading(Quantization quantization) throws IOException {
    Path converted = convert(DEMO, quantization, null);
    List<float[]> expected = logits(DEMO, quantization, When.NEVER);
    assertSame(logits(converted, Quantization.NONE, When.IF_FASTER), expected);
    assertThat(logits(DEMO, Quantization.NONE, When.NEVER).getFirst())
        .isNotEqualTo(expected.getFirst());
    assertSame(
        logits(converted, quantization, When.ALWAYS), logits(DEMO, quantization, When.ALWAYS));
    assertThat(logits(converted, quantization, When.ALWAYS).getFirst())
        .isNotEqualTo(expected.getFirst());
  }

  /** The same codes from either layout, and odd shapes with partial blocks. */
  @ParameterizedTest
  @EnumSource(mode = EnumSource.Mode.EXCLUDE, names = "NONE")
  void layoutsAndPartialBlocks(Quantization quantization) throws IOException {
    List<float[]> expected = logits(ODD, quantization, When.ALWAYS);
    assertSame(logits(TE, quantization, When.ALWAYS), expected);
    assertSame(logits(convert(TE, quantization, null), quantization, When.ALWAYS), expected);
  }

  private static JsonNode config(Path directory) throws IOException {
    return JsonMapper.shared().readTree(Files.readString(directory.resolve("config.json")));
  }

  @ParameterizedTest
  @CsvSource({
    "FP8, per_tensor_current, weight_scale, F32, 1 0, ignore",
    "FP8_BLOCK, block128x128_pow2scale, weight_scale_inv, F32, 2 2, modules_to_not_convert",
    "MXFP8, mxfp8_te, weight_scale, U8, 192 6, ignore",
  })
  void hasTheFormThatOthersRead(
      Quantization quantization,
      String golden,
      String scaleName,
      DType scaleType,
      String scaleShape,
      String excluded)
      throws Exception {
    Path converted = convert(DEMO, quantization, CheckpointLayout.HUGGING_FACE);
    Map<String, Raw> tensors = RawTensors.read(converted.resolve("model.safetensors"));
    String[] dims = scaleShape.split(" ");
    Shape expectedShape =
        dims[1].equals("0")
            ? Shape.of(Long.parseLong(dims[0]))
            : Shape.of(Long.parseLong(dims[0]), Long.parseLong(dims[1]));
    JsonNode sums =
        JsonMapper.shared()
            .readTree(Files.readString(GOLDEN.resolve("fp8/" + golden + ".sha256.json")));
    int quantised = 0;
    int compared = 0;
    for (Map.Entry<String, Raw> tensor : tensors.entrySet()) {
      Raw raw = tensor.getValue();
      if (sums.has(tensor.getKey())) {
        String expected = sums.get(tensor.getKey()).get("sha256_q").asString();
        assertThat(sha256(raw.bytes())).isEqualTo(expected);
        compared++;
      }
      if (CheckpointLayout.isQuantisable(tensor.getKey())) {
        assertThat(raw.dtype()).isEqualTo(DType.F8_E4M3);
        quantised++;
      } else if (raw.dtype() != scaleType) {
        assertThat(raw.dtype()).as(tensor.getKey()).isEqualTo(DType.BF16);
      }
    }
    assertThat(quantised).isEqualTo(6 * 28);
    assertThat(compared).isEqualTo(3 * 28);
    Raw scale = get(tensors, EXPERT.replace("weight", scaleName));
    assertThat(scale.dtype()).isEqualTo(scaleType);
    assertThat(scale.shape()).isEqualTo(expectedShape);
    JsonNode config = config(converted).get("quantization_config");
    assertThat(config.get(excluded).valueStream().map(JsonNode::asString))
        .contains("lm_head", "model.layers.5.block_sparse_moe.gate");
    assertThat(config(converted).get("architectures").get(0).asString())
        .isEqualTo("MixtralForCausalLM");
  }

  private static String sha256(byte[] bytes) throws Exception {
    return HexFormat.of().formatHex(MessageDigest.getInstance("SHA-256").digest(bytes));
  }

  /** NVMixtralConfig's list: null leaves a layer as it is. */
  @Test
  void layerPrecision() throws IOException {
    Path source = copy(ODD, "listed");
    editConfig(source, config -> config.putArray("layer_precision").addNull().add("fp8"));
    Path converted = convert(source, Quantization.FP8_BLOCK, null);
    Map<String, Raw> tensors = RawTensors.read(converted.resolve("model.safetensors"));
    assertThat(get(tensors, EXPERT).dtype()).isEqualTo(DType.F8_E4M3);
    String left = EXPERT.replace("layers.1", "layers.0");
    assertThat(get(tensors, left).dtype()).isNotEqualTo(DType.F8_E4M3);
    assertThat(
            config(converted)
                .get("quantization_config")
                .get("modules_to_not_convert")
                .valueStream()
                .map(JsonNode::asString))
        .contains(left.replace(".weight", ""))
        .doesNotContain(EXPERT.replace(".weight", ""));
    List<float[]> expected = logits(source, Quantization.FP8_BLOCK, When.NEVER);
    assertSame(logits(converted, Quantization.NONE, When.NEVER), expected);
    assertThat(expected.getFirst())
        .isNotEqualTo(logits(ODD, Quantization.FP8_BLOCK, When.NEVER).getFirst());
  }

  @Test
  void layerPrecisionMustFitTheModel() throws IOException {
    Path source = copy(ODD, "listed");
    editConfig(source, config -> config.putArray("layer_precision").add("fp8"));
    assertRefused(source, "layer_precision: found '1 entries', expected 2");
    editConfig(source, config -> config.putArray("layer_precision").add("fp4").addNull());
    assertRefused(source, "layer_precision: found 'fp4', expected \"fp8\" or null");
  }

  /** As AutoFP8 stores them: a scale of the weights and a fixed one of the inputs. */
  @Test
  void staticScales() throws IOException {
    Path model = convert(DEMO, Quantization.FP8, null);
    setConfig(model, "{\"quant_method\": \"fp8\", \"activation_scheme\": \"static\"}");
    assertRefused(model, "found no scale, expected one named");
    RawTensors.edit(
        model.resolve("model.safetensors"),
        tensors ->
            tensors.keySet().stream()
                .filter(name -> name.endsWith("_scale"))
                .toList()
                .forEach(
                    name -> {
                      tensors.put(name, Raw.floats(Shape.of(), floatOf(get(tensors, name))));
                      tensors.put(
                          name.replace("weight_scale", "input_scale"),
                          Raw.floats(Shape.of(1), 0.05f));
                    }));
    List<float[]> weightsOnly = logits(DEMO, Quantization.FP8, When.NEVER);
    assertSame(logits(model, Quantization.NONE, When.NEVER), weightsOnly);
    List<float[]> fixed = logits(model, Quantization.NONE, When.ALWAYS);
    assertThat(fixed.getFirst()).isNotEqualTo(weightsOnly.getFirst());
    assertSame(logits(model, Quantization.FP8, When.ALWAYS), fixed);
    assertRefused(model, Quantization.MXFP8, "quantization_config: found 'fp8 with");
  }

  private static Raw get(Map<String, Raw> tensors, String name) {
    return Objects.requireNonNull(tensors.get(name), name);
  }

  private static float floatOf(Raw raw) {
    return java.nio.ByteBuffer.wrap(raw.bytes()).order(java.nio.ByteOrder.LITTLE_ENDIAN).getFloat();
  }

  @ParameterizedTest
  @CsvSource(
      delimiter = '|',
      value = {
        "missing | found no scale, expected one named model.layers.1.",
        "zero | found a scale of 0.0, expected positive numbers",
        "nan | found a scale of NaN",
        "shape | found F32 [3], expected F32, F16 or BF16 [1, 1]",
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

  private Path copy(Path model, String name) throws IOException {
    Path copy = Files.createDirectory(folder.resolve(name));
    for (String file : List.of("config.json", "model.safetensors")) {
      Files.copy(model.resolve(file), copy.resolve(file));
    }
    return copy;
  }

  private static void setConfig(Path model, String quantization) throws IOException {
    JsonNode node = JsonMapper.shared().readTree(quantization);
    editConfig(model, config -> config.set("quantization_config", node));
  }

  private static void editConfig(Path model, java.util.function.Consumer<ObjectNode> change)
      throws IOException {
    ObjectNode config = (ObjectNode) config(model);
    change.accept(config);
    Files.writeString(model.resolve("config.json"), config.toString());
  }

  @Test
  void bytesAndSaturationByClass() {
    try (Backend backend = CpuBackend.create(2);
        ModelLoader loader =
            ModelLoader.open(
                DEMO, LoadFormat.AUTO, new Precision(Quantization.FP8.recipe(), When.NEVER))) {
      var unused = loader.upload(backend, 64, layer -> {});
      long experts = 6L * 8 * 3 * 192 * 192;
      assertThat(loader.statistics().bytes(WeightClass.EXPERTS))
          .isBetween(experts, experts * 103 / 100);
      assertThat(loader.statistics().bytes(WeightClass.LM_HEAD)).isEqualTo(2L * 4096 * 192);
      // The largest value of each matrix, at least.
      assertThat(loader.statistics().saturated(WeightClass.EXPERTS)).isBetween(144L, 400L);
      assertThat(loader.statistics().saturated(WeightClass.ATTENTION)).isBetween(24L, 100L);
      assertThat(loader.statistics().saturated(WeightClass.ROUTER)).isZero();
    }
  }

  @Test
  void theTransformerEngineLayoutIsNotWrittenQuantised() {
    assertThatThrownBy(() -> convert(DEMO, Quantization.FP8, CheckpointLayout.TRANSFORMER_ENGINE))
        .isInstanceOf(IllegalArgumentException.class)
        .hasMessageContaining("Hugging Face's layout only");
  }

  @Test
  void codesAreNotConvertedAgain() throws IOException {
    Path converted = convert(ODD, Quantization.FP8, null);
    assertThatThrownBy(
            () -> convert(converted, Quantization.NONE, CheckpointLayout.TRANSFORMER_ENGINE))
        .hasMessageContaining("already quantised");
  }
}
