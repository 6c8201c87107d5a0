package dev.gregale.convert;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import dev.gregale.checkpoint.Checkpoint;
import dev.gregale.checkpoint.CheckpointException;
import dev.gregale.checkpoint.CheckpointLayout;
import dev.gregale.checkpoint.SafetensorsWriter;
import dev.gregale.tensor.DType;
import dev.gregale.tensor.HostTensor;
import dev.gregale.tensor.Shape;
import java.io.IOException;
import java.lang.foreign.MemorySegment;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import tools.jackson.databind.JsonNode;
import tools.jackson.databind.json.JsonMapper;

/** Conversions against the reference's files; configuration, casts, what is left out. */
class CheckpointConverterTest {
  @TempDir private Path folder;

  @Test
  void odd0BecomesTheReferencesFiles() throws IOException {
    Path te = folder.resolve("te");
    ConversionResult result = Models.convert(Models.request(Models.ODD0.resolve("hf"), te));
    assertThat(result.to()).isEqualTo(CheckpointLayout.TRANSFORMER_ENGINE);
    assertSameFiles(te, Models.ODD0.resolve("te"), "model.safetensors", "config.json");
    assertThat(folder).isDirectoryNotContaining("glob:**/.te*");
    assertThat(te.resolve(Journal.FILE_NAME)).doesNotExist();
  }

  @Test
  void odd0ComesBackAsHuggingFacesFiles() throws IOException {
    Path hf = folder.resolve("hf");
    Models.convert(Models.request(Models.ODD0.resolve("te"), hf));
    assertSameFiles(hf, Models.ODD0.resolve("hf"), "model.safetensors", "config.json");
  }

  /** The same division into files as Hugging Face's save_pretrained, and the same index. */
  @Test
  void shardsAreHuggingFacesFiles() throws IOException {
    Path hf = folder.resolve("hf");
    ConversionResult result =
        Models.convert(
            Models.request(
                Models.ODD0.resolve("te"), hf, CheckpointLayout.HUGGING_FACE, null, 150_000));
    assertThat(result.shards()).isEqualTo(8);
    Path expected = Models.ODD0.resolve("hf-sharded");
    List<String> names = new ArrayList<>(List.of("model.safetensors.index.json", "config.json"));
    for (int i = 1; i <= 8; i++) {
      names.add("model-%05d-of-00008.safetensors".formatted(i));
    }
    assertSameFiles(hf, expected, names.toArray(String[]::new));
    Path joined = folder.resolve("joined");
    Models.convert(Models.request(hf, joined, CheckpointLayout.HUGGING_FACE, null, Long.MAX_VALUE));
    assertSameFiles(joined, Models.ODD0.resolve("hf"), "model.safetensors", "config.json");
  }

  @Test
  void theDemoModelHasTheReferencesSums() throws IOException {
    Path te = folder.resolve("te");
    Models.convert(Models.request(Models.DEMO, te));
    Path expected = Models.GOLDEN.resolve("demo-te");
    assertSameFiles(te, expected, "config.json");
    Map<String, Manifest.Sum> sums = new LinkedHashMap<>();
    JsonNode golden = JsonMapper.shared().readTree(expected.resolve("te.sha256.json"));
    for (Map.Entry<String, JsonNode> entry : golden.properties()) {
      List<String> shape = new ArrayList<>();
      entry.getValue().get("shape").forEach(dim -> shape.add(dim.toString()));
      String sha256 = entry.getValue().get("sha256").stringValue();
      sums.put(entry.getKey(), new Manifest.Sum("BF16", shape.toString(), sha256));
    }
    assertThat(Manifest.read(te).tensors()).hasSize(45).isEqualTo(sums);
    try (Checkpoint written = Checkpoint.open(te)) {
      Manifest.read(te).verify(written);
    }
    assertSameFiles(
        te,
        Models.DEMO,
        "tokenizer.json",
        "tokenizer_config.json",
        "special_tokens_map.json",
        "generation_config.json");
    assertThat(Manifest.read(te).files())
        .containsOnlyKeys(
            "config.json",
            "tokenizer.json",
            "tokenizer_config.json",
            "special_tokens_map.json",
            "generation_config.json");
    Path hf = folder.resolve("hf");
    Models.convert(Models.request(te, hf));
    assertSameFiles(hf, Models.DEMO, "config.json");
    assertThat(Models.tensors(hf)).isEqualTo(Models.tensors(Models.DEMO));
  }

  /** Tied embeddings and a head_dim that is not hidden_size / heads. */
  @Test
  void odd1ComesBack() throws IOException {
    Path te = folder.resolve("te");
    Path hf = folder.resolve("hf");
    Models.convert(Models.request(Models.ODD1, te));
    Models.convert(Models.request(te, hf));
    assertThat(Models.tensors(te)).doesNotContainKey("lm_head.weight");
    assertSameFiles(hf, Models.ODD1, "model.safetensors", "config.json");
  }

  @Test
  void castsEveryTensorAndSaysSoInTheConfig() throws IOException {
    Path te = folder.resolve("te");
    Models.convert(Models.request(Models.ODD0.resolve("hf"), te, null, DType.F32, 1 << 30));
    assertThat(Models.tensors(te).values()).allMatch(t -> t.getFirst() == DType.F32);
    assertThat(te.resolve("config.json")).content().contains("\"dtype\": \"float32\"");
    Path back = folder.resolve("back");
    Models.convert(Models.request(te, back, null, DType.BF16, 1 << 30));
    assertSameFiles(back, Models.ODD0.resolve("hf"), "model.safetensors", "config.json");
  }

  @Test
  void olderConfigsKeepTheirKeys() throws IOException {
    Path source = copy(Models.ODD0.resolve("hf"), folder.resolve("classic"));
    Files.delete(source.resolve("config.json"));
    Files.move(source.resolve("config.classic.json"), source.resolve("config.json"));
    Path te = folder.resolve("te");
    Path hf = folder.resolve("hf");
    Models.convert(Models.request(source, te, null, DType.F16, 1 << 30));
    assertThat(te.resolve("config.json"))
        .content()
        .contains("\"torch_dtype\": \"float16\"", "\"rope_theta\": 10000.0")
        .doesNotContain("\"dtype\"");
    Models.convert(Models.request(te, hf, null, DType.BF16, 1 << 30));
    assertSameFiles(hf, source, "config.json");
  }

  /** A pickle is code; not a byte of it is looked at, nor does it come along. */
  @Test
  void statesAndPicklesAreLeftOut() throws IOException {
    Path source = copy(Models.ODD0.resolve("te"), folder.resolve("source"));
    List<HostTensor> tensors = new ArrayList<>();
    byte[] pickle = "cos\nsystem\n(S'exit 1'\ntR.".getBytes(StandardCharsets.UTF_8);
    tensors.add(
        new HostTensor(
            "model.layers.0.self_attention.layernorm_qkv._extra_state",
            DType.U8,
            Shape.of(pickle.length),
            List.of(MemorySegment.ofArray(pickle))));
    try (Checkpoint te = Checkpoint.open(Models.ODD0.resolve("te"))) {
      te.names().forEach(name -> tensors.add(te.tensor(name)));
      SafetensorsWriter.write(source.resolve("model.safetensors"), tensors, Map.of());
    }
    Files.write(source.resolve("optimizer.pt"), pickle);
    Path hf = folder.resolve("hf");
    Models.convert(Models.request(source, hf));
    assertSameFiles(hf, Models.ODD0.resolve("hf"), "model.safetensors");
    assertThat(hf.resolve("optimizer.pt")).doesNotExist();
    Files.delete(source.resolve("model.safetensors"));
    Files.write(source.resolve("pytorch_model.bin"), pickle);
    assertThatThrownBy(() -> Models.convert(Models.request(source, folder.resolve("x"))))
        .isInstanceOf(CheckpointException.class)
        .hasMessageContaining("only pickled weights ('optimizer.pt, pytorch_model.bin')");
    assertThat(folder.resolve("x")).doesNotExist();
  }

  @Test
  void planWritesNothing() throws IOException {
    ConversionResult result =
        new CheckpointConverter(null)
            .plan(Models.request(Models.ODD0.resolve("hf"), folder.resolve("te")));
    assertThat(result)
        .isEqualTo(
            new ConversionResult(
                CheckpointLayout.HUGGING_FACE,
                CheckpointLayout.TRANSFORMER_ENGINE,
                1,
                17,
                1,
                973248,
                0,
                null));
    assertThat(folder).isEmptyDirectory();
  }

  @Test
  void aChangedByteIsNoticed() throws IOException {
    Path te = folder.resolve("te");
    Models.convert(Models.request(Models.ODD0.resolve("hf"), te));
    Path weights = te.resolve("model.safetensors");
    Models.changeLastByte(weights);
    try (Checkpoint checkpoint = Checkpoint.open(te)) {
      assertThatThrownBy(() -> Manifest.read(te).verify(checkpoint))
          .isInstanceOf(CheckpointException.class)
          .hasMessageContaining("model.safetensors: tensor 'model.norm.weight': found Sum");
    }
    Models.changeLastByte(weights);
    Files.writeString(te.resolve("config.json"), "{}");
    try (Checkpoint checkpoint = Checkpoint.open(te)) {
      assertThatThrownBy(() -> Manifest.read(te).verify(checkpoint))
          .hasMessageContaining("config.json: SHA-256");
    }
  }

  private static Path copy(Path from, Path to) throws IOException {
    Files.createDirectory(to);
    try (Stream<Path> files = Files.list(from)) {
      for (Path file : files.toList()) {
        Files.copy(file, to.resolve(file.getFileName()));
      }
    }
    return to;
  }

  private static void assertSameFiles(Path found, Path expected, String... names)
      throws IOException {
    for (String name : names) {
      assertThat(Files.mismatch(found.resolve(name), expected.resolve(name)))
          .as(name)
          .isEqualTo(-1);
    }
  }
}
