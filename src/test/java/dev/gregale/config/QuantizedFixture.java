package dev.gregale.config;

import static java.util.Objects.requireNonNull;
import static org.assertj.core.api.Assertions.assertThat;

import dev.gregale.backend.Backend;
import dev.gregale.backend.cpu.CpuBackend;
import dev.gregale.checkpoint.CheckpointLayout;
import dev.gregale.config.RawTensors.Raw;
import dev.gregale.convert.CheckpointConverter;
import dev.gregale.convert.ConversionRequest;
import dev.gregale.model.Precision;
import dev.gregale.model.PromptLogits;
import dev.gregale.quantization.Quantization;
import dev.gregale.tensor.InputScaling.When;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.function.BiConsumer;
import java.util.function.Consumer;
import org.jspecify.annotations.Nullable;
import org.junit.jupiter.api.io.TempDir;
import tools.jackson.databind.JsonNode;
import tools.jackson.databind.json.JsonMapper;
import tools.jackson.databind.node.ObjectNode;

/** Quantised checkpoints that tests make, load and damage. */
abstract class QuantizedFixture {
  static final Path DEMO = Path.of("src/main/resources/models/fairytale-moe-7m");
  static final Path GOLDEN = Path.of("src/test/resources/golden");
  static final Path TE = GOLDEN.resolve("random/odd0/te");
  static final Path ODD = GOLDEN.resolve("random/odd0/hf");
  static final String EXPERT = "model.layers.1.block_sparse_moe.experts.0.w1.weight";
  static final List<int[]> PROMPTS = List.of(new int[] {1, 300, 17, 256, 40, 99, 3}, new int[] {1});

  @TempDir Path folder;

  Path convert(Path source, Quantization quantization, @Nullable CheckpointLayout to)
      throws IOException {
    Path target = folder.resolve(quantization + "-" + source.getFileName());
    new CheckpointConverter(null)
        .convert(
            new ConversionRequest(
                source, target, to, null, quantization, false, 1L << 30, 1, false, false),
            progress -> {});
    return target;
  }

  static List<float[]> logits(Path directory, Quantization quantization, When inputs) {
    try (Backend backend = CpuBackend.create(2)) {
      Precision precision = new Precision(quantization.recipe(), inputs);
      return PromptLogits.of(backend, directory, precision, PROMPTS);
    }
  }

  static void assertSame(List<float[]> found, List<float[]> expected) {
    for (int p = 0; p < PROMPTS.size(); p++) {
      assertThat(found.get(p)).isEqualTo(expected.get(p));
    }
  }

  static void assertSameTensors(Map<String, Raw> found, Map<String, Raw> expected) {
    assertThat(found.keySet()).isEqualTo(expected.keySet());
    expected.forEach(
        (name, raw) -> {
          Raw other = get(found, name);
          assertThat(other.dtype()).as(name).isEqualTo(raw.dtype());
          assertThat(other.shape()).as(name).isEqualTo(raw.shape());
          assertThat(Arrays.equals(other.bytes(), raw.bytes())).as(name).isTrue();
        });
  }

  static JsonNode config(Path directory) throws IOException {
    return JsonMapper.shared().readTree(Files.readString(directory.resolve("config.json")));
  }

  static Raw get(Map<String, Raw> tensors, String name) {
    return requireNonNull(tensors.get(name), name);
  }

  /** Changes the scale of every weight of codes. */
  static void editScales(Path model, BiConsumer<Map<String, Raw>, String> change) {
    RawTensors.edit(
        model.resolve("model.safetensors"),
        tensors ->
            tensors.keySet().stream()
                .filter(name -> name.endsWith("weight_scale") || name.endsWith("_scale_inv"))
                .toList()
                .forEach(name -> change.accept(tensors, name)));
  }

  static void rename(Map<String, Raw> tensors, String from, String to) {
    tensors.put(to, requireNonNull(tensors.remove(from)));
  }

  /** Beside the scale of a weight one of its inputs. */
  static void addInputScale(Map<String, Raw> tensors, String scale, String name, Raw value) {
    tensors.put(scale.replaceAll("weight_scale(_inv)?$", name), value);
  }

  Path copy(Path model, String name) throws IOException {
    Path copy = Files.createDirectory(folder.resolve(name));
    for (String file : List.of("config.json", "model.safetensors")) {
      Files.copy(model.resolve(file), copy.resolve(file));
    }
    return copy;
  }

  static void setConfig(Path model, String quantization) throws IOException {
    JsonNode node = JsonMapper.shared().readTree(quantization);
    editConfig(model, config -> config.set("quantization_config", node));
  }

  static void editConfig(Path model, Consumer<ObjectNode> change) throws IOException {
    ObjectNode config = (ObjectNode) config(model);
    change.accept(config);
    Files.writeString(model.resolve("config.json"), config.toString());
  }
}
