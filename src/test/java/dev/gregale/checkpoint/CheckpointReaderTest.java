package dev.gregale.checkpoint;

import static org.assertj.core.api.Assertions.assertThat;

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
import org.junit.jupiter.api.Test;
import tools.jackson.databind.JsonNode;
import tools.jackson.databind.json.JsonMapper;

/** Every layout gives the same canonical weights, those of the reference. */
class CheckpointReaderTest extends CheckpointReaderFixture {
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

  private static CheckpointWeights read(Checkpoint checkpoint) {
    return CheckpointReader.read(checkpoint, Golden.ODD0_DIMENSIONS, null);
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
        gateUp.add(hf.slabs(prefix + "w1.weight").getFirst());
        gateUp.add(hf.slabs(prefix + "w3.weight").getFirst());
        down.add(hf.slabs(prefix + "w2.weight").getFirst());
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
