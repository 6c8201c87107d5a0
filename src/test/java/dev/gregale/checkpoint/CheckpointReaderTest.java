package dev.gregale.checkpoint;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import dev.gregale.checkpoint.CheckpointWeights.Layer;
import dev.gregale.tensor.DType;
import dev.gregale.tensor.HostTensor;
import dev.gregale.tensor.Shape;
import java.lang.foreign.MemorySegment;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.security.MessageDigest;
import java.util.ArrayList;
import java.util.HexFormat;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.stream.Stream;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import tools.jackson.databind.JsonNode;
import tools.jackson.databind.json.JsonMapper;

class CheckpointReaderTest {

  private static final String EXPERTS = "model.layers.1.block_sparse_moe.experts.";

  @TempDir Path directory;
  private final Checkpoint hf = Checkpoint.open(Golden.ODD0.resolve("hf"));
  private final Checkpoint te = Checkpoint.open(Golden.ODD0.resolve("te"));

  @AfterEach
  void close() {
    hf.close();
    te.close();
  }

  @Test
  void layoutsAreRecognised() {
    for (var expected :
        Map.of(
                "hf", CheckpointLayout.HUGGING_FACE,
                "hf-sharded", CheckpointLayout.HUGGING_FACE,
                "te", CheckpointLayout.TRANSFORMER_ENGINE)
            .entrySet()) {
      try (Checkpoint checkpoint = Checkpoint.open(Golden.ODD0.resolve(expected.getKey()))) {
        assertThat(CheckpointLayout.of(checkpoint)).isEqualTo(expected.getValue());
      }
    }
  }

  @Test
  void everyLayoutGivesTheSameBytes() throws Exception {
    writeFused(directory.resolve("model.safetensors"));
    try (Checkpoint sharded = Checkpoint.open(Golden.ODD0.resolve("hf-sharded"));
        Checkpoint fused = Checkpoint.open(directory)) {
      assertThat(CheckpointLayout.of(fused)).isEqualTo(CheckpointLayout.HUGGING_FACE_FUSED);
      Map<String, String> expected = hashes(read(hf));
      assertThat(expected).hasSize(3 + 2 * 7);
      assertThat(hashes(read(sharded))).isEqualTo(expected);
      assertThat(hashes(read(te))).isEqualTo(expected);
      assertThat(hashes(read(fused))).isEqualTo(expected);
    }
  }

  @Test
  void odd0RecomputesTheTransformerEngineHashes() throws Exception {
    assertRecomputes(
        Golden.ODD0.resolve("hf"),
        Golden.ODD0_DIMENSIONS,
        Golden.ODD0.resolve("te/te.sha256.json"));
  }

  @Test
  void theDemoModelRecomputesTheTransformerEngineHashes() throws Exception {
    assertRecomputes(
        Golden.DEMO, Golden.DEMO_DIMENSIONS, Golden.DIRECTORY.resolve("demo-te/te.sha256.json"));
  }

  @Test
  void readsInPlace() {
    assertThat(read(hf).layers().getFirst().gateUp().slabs())
        .hasSize(8)
        .allMatch(MemorySegment::isMapped);
    assertThat(read(te).layers().getFirst().qkv().slabs())
        .hasSize(9)
        .allMatch(MemorySegment::isMapped);
  }

  @Test
  void tiedEmbeddingsServeAsHead() {
    try (Checkpoint checkpoint = Checkpoint.open(Golden.ODD1)) {
      CheckpointWeights weights = CheckpointReader.read(checkpoint, Golden.ODD1_DIMENSIONS, null);
      assertThat(weights.lmHead()).isSameAs(weights.embedding());
      assertThat(weights.embedding().dtype()).isEqualTo(DType.F32);
      assertThat(weights.layers().get(1).output().shape()).isEqualTo(Shape.of(64, 128));
      assertThat(weights.layers().get(1).qkv().shape()).isEqualTo(Shape.of(192, 64));
      assertThat(weights.layers().get(1).gateUp().shape()).isEqualTo(Shape.of(5, 192, 64));
    }
  }

  @Test
  void aHeadBesideATiedEmbeddingMustBeTheSame() {
    ModelDimensions tied = new ModelDimensions(96, 2, 6, 3, 16, 4, 160, 320, true);
    assertThatThrownBy(() -> readTensors(hf(), tied))
        .isInstanceOf(CheckpointException.class)
        .hasMessageContaining("'lm_head.weight' differs from the embedding");
    HostTensor embedding = tensor(hf(), "model.embed_tokens.weight");
    CheckpointWeights weights =
        readTensors(replace(hf(), renamed(embedding, "lm_head.weight")), tied);
    assertThat(weights.lmHead()).isSameAs(weights.embedding());
  }

  @Test
  void pickledStatesAreIgnored() throws Exception {
    byte[] pickle = "cos\nsystem\n(S'exit 1'\ntR.".getBytes(StandardCharsets.UTF_8);
    Shape shape = Shape.of(pickle.length);
    List<HostTensor> tensors = new ArrayList<>(te());
    tensors.add(
        new HostTensor(
            "model.layers.0.self_attention.layernorm_qkv._extra_state",
            DType.U8,
            shape,
            List.of(MemorySegment.ofArray(pickle))));
    tensors.add(Golden.counting("model.layers.0.mlp.experts._extra_state", DType.U8, 0, 0));
    tensors.add(Golden.counting("model.layers.1.mlp.experts._extra_state", DType.U8, 0, 0));
    SafetensorsWriter.write(directory.resolve("model.safetensors"), tensors, Map.of());
    try (Checkpoint original = Checkpoint.open(Golden.ODD0.resolve("te"));
        Checkpoint copy = Checkpoint.open(directory)) {
      assertThat(copy.names()).hasSize(original.names().size() + 3);
      assertThat(hashes(read(copy))).isEqualTo(hashes(read(original)));
    }
  }

  @Test
  void missingTensorsAreNamedAndCounted() {
    List<HostTensor> withoutExperts =
        hf().stream().filter(t -> !t.name().startsWith(EXPERTS)).toList();
    assertThatThrownBy(() -> readTensors(withoutExperts))
        .isInstanceOf(CheckpointException.class)
        .hasMessageStartingWith(directory + ": HUGGING_FACE layout: missing 12 tensors: ")
        .hasMessageContaining("'" + EXPERTS + "0.w1.weight', '" + EXPERTS + "0.w3.weight'")
        .hasMessageEndingWith(", ...");
  }

  @Test
  void everyTensorIsNeeded() {
    for (List<HostTensor> layout : List.of(hf(), te())) {
      for (HostTensor one : layout) {
        List<HostTensor> others =
            layout.stream().filter(t -> !t.name().equals(one.name())).toList();
        assertThatThrownBy(() -> readTensors(others))
            .isInstanceOf(CheckpointException.class)
            .hasMessageEndingWith("missing 1 tensor: '" + one.name() + "'");
      }
    }
  }

  @Test
  void everyShapeIsChecked() {
    for (List<HostTensor> layout : List.of(hf(), te())) {
      for (HostTensor one : layout) {
        Shape other = Shape.of(1, one.shape().numElements());
        HostTensor flat = new HostTensor(one.name(), one.dtype(), other, one.slabs());
        assertThatThrownBy(() -> readTensors(replace(layout, flat)))
            .isInstanceOf(CheckpointException.class)
            .hasMessage(
                "%s: tensor '%s': found shape %s, expected %s"
                    .formatted(
                        directory.resolve("model.safetensors"), one.name(), other, one.shape()));
      }
    }
  }

  @Test
  void everyDtypeIsChecked() {
    for (List<HostTensor> layout : List.of(hf(), te())) {
      for (HostTensor one : layout) {
        HostTensor codes = new HostTensor(one.name(), DType.I16, one.shape(), one.slabs());
        assertThatThrownBy(() -> readTensors(replace(layout, codes)))
            .isInstanceOf(CheckpointException.class)
            .hasMessageContaining(
                "tensor '" + one.name() + "': found dtype I16, expected F32, F16 or BF16");
      }
    }
  }

  @Test
  void shapesFollowTheDimensions() {
    ModelDimensions wider = new ModelDimensions(96, 2, 6, 3, 16, 4, 160, 321, false);
    assertThatThrownBy(() -> readTensors(hf(), wider))
        .hasMessageContaining(
            "'model.embed_tokens.weight': found shape [320, 96], expected [321, 96]");
    ModelDimensions fewerKeys = new ModelDimensions(96, 2, 6, 2, 16, 4, 160, 320, false);
    assertThatThrownBy(() -> readTensors(hf(), fewerKeys))
        .hasMessageContaining("k_proj.weight': found shape [48, 96], expected [32, 96]");
    assertThatThrownBy(() -> readTensors(te(), fewerKeys))
        .hasMessageContaining("layernorm_qkv.weight': found shape [192, 96], expected [160, 96]");
  }

  @Test
  void tensorsWithoutAPlaceAreRefused() {
    ModelDimensions oneLayer = new ModelDimensions(96, 1, 6, 3, 16, 4, 160, 320, false);
    assertThatThrownBy(() -> readTensors(hf(), oneLayer))
        .isInstanceOf(CheckpointException.class)
        .hasMessageContaining("no place in the model that config.json describes for 19 tensors")
        .hasMessageContaining("'model.layers.1.");
    String bias = "model.layers.0.self_attn.q_proj.bias";
    assertThatThrownBy(() -> readTensors(with(hf(), Golden.counting(bias, DType.F32, 0, 96))))
        .hasMessageEndingWith("for 1 tensor: '" + bias + "'");
    String frequencies = "model.layers.0.self_attn.rotary_emb.inv_freq";
    assertThat(readTensors(with(hf(), Golden.counting(frequencies, DType.F32, 0, 8)))).isNotNull();
  }

  @Test
  void dtypesMayDifferBetweenMatricesButNotWithinOne() {
    String norm = "model.layers.0.input_layernorm.weight";
    CheckpointWeights weights = readTensors(replace(hf(), Golden.counting(norm, DType.F32, 0, 96)));
    assertThat(weights.layers().getFirst().inputNorm().dtype()).isEqualTo(DType.F32);
    assertThat(weights.layers().get(1).inputNorm().dtype()).isEqualTo(DType.BF16);
    String value = "model.layers.0.self_attn.v_proj.weight";
    assertThatThrownBy(
            () -> readTensors(replace(hf(), Golden.counting(value, DType.F16, 0, 48, 96))))
        .isInstanceOf(CheckpointException.class)
        .hasMessageContaining("tensor '" + value + "': found dtype F16, expected BF16 as in");
  }

  @Test
  void unknownAndMixedLayoutsAreRefused() {
    assertThatThrownBy(() -> readTensors(List.of(Golden.counting("wte", DType.F32, 0, 1))))
        .isInstanceOf(CheckpointException.class)
        .hasMessageContaining("no known layout (the first is 'wte')");
    assertThatThrownBy(() -> readTensors(List.of()))
        .isInstanceOf(CheckpointException.class)
        .hasMessageContaining("no known layout (the first is none)");
    HostTensor stacked = Golden.counting("model.layers.0.mlp.experts.down_proj", DType.F32, 0, 1);
    assertThatThrownBy(() -> readTensors(with(hf(), stacked)))
        .hasMessageContaining("several layouts: [HUGGING_FACE, HUGGING_FACE_FUSED]");
  }

  private static CheckpointWeights read(Checkpoint checkpoint) {
    return CheckpointReader.read(checkpoint, Golden.ODD0_DIMENSIONS, null);
  }

  private CheckpointWeights readTensors(List<HostTensor> tensors) {
    return readTensors(tensors, Golden.ODD0_DIMENSIONS);
  }

  /** Through a file; the weights' shapes and dtypes can be asked afterwards, not their bytes. */
  private CheckpointWeights readTensors(List<HostTensor> tensors, ModelDimensions dims) {
    SafetensorsWriter.write(directory.resolve("model.safetensors"), tensors, Map.of());
    try (Checkpoint checkpoint = Checkpoint.open(directory)) {
      return CheckpointReader.read(checkpoint, dims, null);
    }
  }

  private List<HostTensor> hf() {
    return hf.names().stream().map(hf::tensor).toList();
  }

  private List<HostTensor> te() {
    return te.names().stream().map(te::tensor).toList();
  }

  private static HostTensor tensor(List<HostTensor> tensors, String name) {
    return tensors.stream().filter(t -> t.name().equals(name)).findFirst().orElseThrow();
  }

  private static List<HostTensor> replace(List<HostTensor> tensors, HostTensor by) {
    assertThat(tensors).anyMatch(t -> t.name().equals(by.name()));
    return tensors.stream().map(t -> t.name().equals(by.name()) ? by : t).toList();
  }

  private static List<HostTensor> with(List<HostTensor> tensors, HostTensor another) {
    return Stream.concat(tensors.stream(), Stream.of(another)).toList();
  }

  private static HostTensor renamed(HostTensor tensor, String name) {
    return new HostTensor(name, tensor.dtype(), tensor.shape(), tensor.slabs());
  }

  /** The names of transformers 5 in memory: experts stacked, the rest as published. */
  private void writeFused(Path path) {
    List<HostTensor> tensors = new ArrayList<>();
    for (HostTensor tensor : hf()) {
      if (!tensor.name().contains("block_sparse_moe")) {
        tensors.add(tensor);
      }
    }
    for (int layer = 0; layer < 2; layer++) {
      String moe = "model.layers." + layer + ".block_sparse_moe.";
      String mlp = "model.layers." + layer + ".mlp.";
      List<MemorySegment> gateUp = new ArrayList<>();
      List<MemorySegment> down = new ArrayList<>();
      for (int expert = 0; expert < 4; expert++) {
        String prefix = moe + "experts." + expert + ".";
        gateUp.add(hf.file(prefix + "w1.weight").data(prefix + "w1.weight"));
        gateUp.add(hf.file(prefix + "w3.weight").data(prefix + "w3.weight"));
        down.add(hf.file(prefix + "w2.weight").data(prefix + "w2.weight"));
      }
      tensors.add(renamed(hf.tensor(moe + "gate.weight"), mlp + "gate.weight"));
      tensors.add(
          new HostTensor(mlp + "experts.gate_up_proj", DType.BF16, Shape.of(4, 320, 96), gateUp));
      tensors.add(
          new HostTensor(mlp + "experts.down_proj", DType.BF16, Shape.of(4, 96, 160), down));
    }
    SafetensorsWriter.write(path, tensors, SafetensorsWriter.PYTORCH_METADATA);
  }

  /** Dtype, shape and SHA-256 of every canonical tensor. */
  private static Map<String, String> hashes(CheckpointWeights weights) throws Exception {
    Map<String, String> hashes = new LinkedHashMap<>();
    hashes.put("embedding", hash(weights.embedding()));
    hashes.put("norm", hash(weights.norm()));
    hashes.put("lmHead", hash(weights.lmHead()));
    for (int i = 0; i < weights.layers().size(); i++) {
      Layer layer = weights.layers().get(i);
      hashes.put(i + ".inputNorm", hash(layer.inputNorm()));
      hashes.put(i + ".qkv", hash(layer.qkv()));
      hashes.put(i + ".output", hash(layer.output()));
      hashes.put(i + ".postAttentionNorm", hash(layer.postAttentionNorm()));
      hashes.put(i + ".router", hash(layer.router()));
      hashes.put(i + ".gateUp", hash(layer.gateUp()));
      hashes.put(i + ".down", hash(layer.down()));
    }
    return hashes;
  }

  private static String hash(HostTensor tensor) throws Exception {
    return hash(tensor.dtype(), tensor.shape(), Golden.bytes(tensor));
  }

  private static String hash(DType dtype, Shape shape, byte[] bytes) throws Exception {
    byte[] digest = MessageDigest.getInstance("SHA-256").digest(bytes);
    return dtype + " " + shape + " " + HexFormat.of().formatHex(digest);
  }

  /**
   * From the canonical form of a Hugging Face checkpoint back to every TransformerEngine tensor.
   */
  private static void assertRecomputes(Path model, ModelDimensions dims, Path te) throws Exception {
    Map<String, String> actual = new LinkedHashMap<>();
    try (Checkpoint checkpoint = Checkpoint.open(model)) {
      CheckpointWeights weights = CheckpointReader.read(checkpoint, dims, null);
      actual.put("model.embed_tokens.weight", hash(weights.embedding()));
      actual.put("model.norm.weight", hash(weights.norm()));
      actual.put("lm_head.weight", hash(weights.lmHead()));
      for (int i = 0; i < dims.numLayers(); i++) {
        Layer layer = weights.layers().get(i);
        String p = "model.layers." + i + ".";
        HostTensor qkv = layer.qkv();
        byte[] interleaved = interleaved(Golden.bytes(qkv), dims);
        String attention = p + "self_attention.";
        actual.put(attention + "layernorm_qkv.layer_norm_weight", hash(layer.inputNorm()));
        actual.put(attention + "layernorm_qkv.weight", hash(qkv.dtype(), qkv.shape(), interleaved));
        actual.put(attention + "proj.weight", hash(layer.output()));
        actual.put(p + "post_attention_layernorm.weight", hash(layer.postAttentionNorm()));
        actual.put(p + "mlp.gate.weight", hash(layer.router()));
        actual.put(p + "mlp.experts_gate_up_weight", hash(layer.gateUp()));
        actual.put(p + "mlp.experts_down_weight", hash(layer.down()));
      }
    }
    Map<String, String> expected = new LinkedHashMap<>();
    for (Map.Entry<String, JsonNode> entry : new JsonMapper().readTree(te).properties()) {
      JsonNode tensor = entry.getValue();
      assertThat(tensor.get("dtype").stringValue()).isEqualTo("bfloat16");
      List<String> lengths = new ArrayList<>();
      tensor.get("shape").forEach(dim -> lengths.add(dim.toString()));
      expected.put(entry.getKey(), "BF16 " + lengths + " " + tensor.get("sha256").stringValue());
    }
    assertThat(actual).isEqualTo(expected);
  }

  /**
   * Row by row, as the definition says: group g is its query heads, its key head, its value head.
   */
  private static byte[] interleaved(byte[] qkv, ModelDimensions dims) {
    int rowBytes = 2 * dims.hiddenSize();
    int perGroup = dims.numHeads() / dims.numKvHeads();
    ByteBuffer out = ByteBuffer.allocate(qkv.length);
    for (int g = 0; g < dims.numKvHeads(); g++) {
      for (int head = 0; head < perGroup + 2; head++) {
        int from =
            head < perGroup
                ? g * perGroup + head
                : dims.numHeads() + (head - perGroup) * dims.numKvHeads() + g;
        out.put(qkv, from * dims.headDim() * rowBytes, dims.headDim() * rowBytes);
      }
    }
    return out.array();
  }
}
