package dev.gregale.config;

import static org.assertj.core.api.Assertions.assertThat;

import dev.gregale.backend.Backend;
import dev.gregale.backend.cpu.CpuBackend;
import dev.gregale.checkpoint.CheckpointLayout;
import dev.gregale.config.RawTensors.Raw;
import dev.gregale.model.LoadFormat;
import dev.gregale.model.ModelLoader;
import dev.gregale.model.Precision;
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
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.EnumSource;
import tools.jackson.databind.JsonNode;
import tools.jackson.databind.json.JsonMapper;

/** A quantised checkpoint is what quantising while loading gives, in the forms that others read. */
class QuantizedModelTest extends QuantizedFixture {
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
    try (ModelLoader loader = ModelLoader.open(converted, LoadFormat.AUTO, Precision.AS_STORED)) {
      assertThat(loader.bytesPerProjectionElement(2)).isBetween(1.5, 1.51); // one layer of two
    }
    assertThat(expected.getFirst())
        .isNotEqualTo(logits(ODD, Quantization.FP8_BLOCK, When.NEVER).getFirst());
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
}
