package dev.gregale.checkpoint;

import static dev.gregale.checkpoint.CheckpointException.quote;

import dev.gregale.checkpoint.CheckpointWeights.Layer;
import dev.gregale.tensor.DType;
import dev.gregale.tensor.HostTensor;
import dev.gregale.tensor.Shape;
import java.lang.foreign.MemorySegment;
import java.util.ArrayList;
import java.util.HashSet;
import java.util.List;
import java.util.Set;
import java.util.stream.Stream;

/**
 * Brings a checkpoint of any layout into the one form of {@link CheckpointWeights}, without
 * copying: a fused or stacked tensor becomes a list of row slabs of the mapped files.
 */
public final class CheckpointReader {

  /** Names that a message lists; the rest is counted. */
  private static final int LISTED = 4;

  private final Checkpoint checkpoint;
  private final CheckpointLayout layout;
  private final ModelDimensions dims;

  private CheckpointReader(Checkpoint checkpoint, CheckpointLayout layout, ModelDimensions dims) {
    this.checkpoint = checkpoint;
    this.layout = layout;
    this.dims = dims;
  }

  /**
   * Reads the weights of a model of those dimensions.
   *
   * @throws CheckpointException if the layout is unknown, or a tensor is missing, has no place in
   *     the model, has another shape than the dimensions say, or is not F32, F16 or BF16
   */
  public static CheckpointWeights read(Checkpoint checkpoint, ModelDimensions dims) {
    CheckpointReader reader =
        new CheckpointReader(checkpoint, CheckpointLayout.of(checkpoint), dims);
    reader.requireAllTensors();
    return reader.weights();
  }

  private void requireAllTensors() {
    Names missing = new Names();
    Set<String> known = new HashSet<>();
    layout.forEachTensor(
        dims,
        (name, shape) -> {
          if (checkpoint.contains(name)) {
            known.add(name);
            requireTensor(name, shape);
          } else {
            missing.add(name);
          }
        });
    if (missing.count > 0) {
      throw new CheckpointException(
          "%s: %s layout: missing %s".formatted(checkpoint.directory(), layout, missing));
    }
    if (dims.tiedEmbeddings() && checkpoint.contains("lm_head.weight")) {
      requireTied();
      known.add("lm_head.weight");
    }
    Names unexpected = new Names();
    checkpoint.names().stream()
        .filter(name -> !known.contains(name) && !CheckpointLayout.isIgnored(name))
        .forEach(unexpected::add);
    if (unexpected.count > 0) {
      throw new CheckpointException(
          "%s: %s layout: no place in the model that config.json describes for %s"
              .formatted(checkpoint.directory(), layout, unexpected));
    }
  }

  private void requireTensor(String name, Shape expected) {
    SafetensorsFile file = checkpoint.file(name);
    TensorInfo info = file.info(name);
    if (!info.dtype().isWeight()) {
      throw new CheckpointException(
          "%s: tensor %s: found dtype %s, expected F32, F16 or BF16 (quantised weights are not read)"
              .formatted(file.path(), quote(name), info.dtype()));
    }
    if (!info.shape().equals(expected)) {
      throw new CheckpointException(
          "%s: tensor %s: found shape %s, expected %s"
              .formatted(file.path(), quote(name), info.shape(), expected));
    }
  }

  private void requireTied() {
    SafetensorsFile file = checkpoint.file("lm_head.weight");
    SafetensorsFile embedding = checkpoint.file("model.embed_tokens.weight");
    if (file.data("lm_head.weight").mismatch(embedding.data("model.embed_tokens.weight")) >= 0) {
      throw new CheckpointException(
          file.path()
              + ": tensor 'lm_head.weight' differs from the embedding, though config.json says"
              + " tie_word_embeddings; set it to false to use both");
    }
  }

  private CheckpointWeights weights() {
    HostTensor embedding = checkpoint.tensor("model.embed_tokens.weight");
    List<Layer> layers = new ArrayList<>();
    for (int layer = 0; layer < dims.numLayers(); layer++) {
      layers.add(
          switch (layout) {
            case HUGGING_FACE, HUGGING_FACE_FUSED -> huggingFaceLayer(layer);
            case TRANSFORMER_ENGINE -> transformerEngineLayer(layer);
          });
    }
    HostTensor lmHead = dims.tiedEmbeddings() ? embedding : checkpoint.tensor("lm_head.weight");
    return new CheckpointWeights(embedding, layers, checkpoint.tensor("model.norm.weight"), lmHead);
  }

  private Layer huggingFaceLayer(int layer) {
    String prefix = CheckpointLayout.prefix(layer);
    Shape qkv = Shape.of(dims.qkvWidth(), dims.hiddenSize());
    boolean stacked = layout == CheckpointLayout.HUGGING_FACE_FUSED;
    return new Layer(
        checkpoint.tensor(prefix + "input_layernorm.weight"),
        join(
            prefix + "self_attn.qkv_proj.weight",
            qkv,
            Stream.of("q", "k", "v").map(p -> prefix + "self_attn." + p + "_proj.weight").toList()),
        checkpoint.tensor(prefix + "self_attn.o_proj.weight"),
        checkpoint.tensor(prefix + "post_attention_layernorm.weight"),
        checkpoint.tensor(prefix + (stacked ? "mlp" : "block_sparse_moe") + ".gate.weight"),
        stacked ? checkpoint.tensor(prefix + "mlp.experts.gate_up_proj") : gateUp(prefix),
        stacked ? checkpoint.tensor(prefix + "mlp.experts.down_proj") : down(prefix));
  }

  private Layer transformerEngineLayer(int layer) {
    String prefix = CheckpointLayout.prefix(layer);
    return new Layer(
        checkpoint.tensor(prefix + "self_attention.layernorm_qkv.layer_norm_weight"),
        deinterleaved(checkpoint.tensor(prefix + "self_attention.layernorm_qkv.weight")),
        checkpoint.tensor(prefix + "self_attention.proj.weight"),
        checkpoint.tensor(prefix + "post_attention_layernorm.weight"),
        checkpoint.tensor(prefix + "mlp.gate.weight"),
        checkpoint.tensor(prefix + "mlp.experts_gate_up_weight"),
        checkpoint.tensor(prefix + "mlp.experts_down_weight"));
  }

  private HostTensor gateUp(String prefix) {
    List<String> parts = new ArrayList<>();
    for (int e = 0; e < dims.numExperts(); e++) {
      parts.add(prefix + "block_sparse_moe.experts." + e + ".w1.weight");
      parts.add(prefix + "block_sparse_moe.experts." + e + ".w3.weight");
    }
    Shape shape = Shape.of(dims.numExperts(), 2L * dims.intermediateSize(), dims.hiddenSize());
    return join(prefix + "block_sparse_moe.experts.gate_up", shape, parts);
  }

  private HostTensor down(String prefix) {
    List<String> parts = new ArrayList<>();
    for (int e = 0; e < dims.numExperts(); e++) {
      parts.add(prefix + "block_sparse_moe.experts." + e + ".w2.weight");
    }
    Shape shape = Shape.of(dims.numExperts(), dims.hiddenSize(), dims.intermediateSize());
    return join(prefix + "block_sparse_moe.experts.down", shape, parts);
  }

  /** The parts one after the other, as one tensor. */
  private HostTensor join(String name, Shape shape, List<String> parts) {
    DType dtype = checkpoint.tensor(parts.getFirst()).dtype();
    List<MemorySegment> slabs = new ArrayList<>();
    for (String part : parts) {
      HostTensor tensor = checkpoint.tensor(part);
      if (tensor.dtype() != dtype) {
        throw new CheckpointException(
            "%s: tensor %s: found dtype %s, expected %s as in %s, with which it is one matrix"
                .formatted(
                    checkpoint.file(part).path(),
                    quote(part),
                    tensor.dtype(),
                    dtype,
                    quote(parts.getFirst())));
      }
      slabs.addAll(tensor.slabs());
    }
    return new HostTensor(name, dtype, shape, slabs);
  }

  /**
   * From rows (H/G query heads, a key head, a value head) per key/value group to all query, all key
   * and all value rows.
   */
  private HostTensor deinterleaved(HostTensor qkv) {
    MemorySegment bytes = qkv.slabs().getFirst();
    long headBytes = (long) dims.headDim() * dims.hiddenSize() * qkv.dtype().bytes();
    long queries = dims.numHeads() / dims.numKvHeads();
    long groupBytes = (queries + 2) * headBytes;
    List<MemorySegment> slabs = new ArrayList<>();
    for (int g = 0; g < dims.numKvHeads(); g++) {
      slabs.add(bytes.asSlice(g * groupBytes, queries * headBytes));
    }
    for (int part = 0; part < 2; part++) {
      for (int g = 0; g < dims.numKvHeads(); g++) {
        slabs.add(bytes.asSlice(g * groupBytes + (queries + part) * headBytes, headBytes));
      }
    }
    return new HostTensor(qkv.name(), qkv.dtype(), qkv.shape(), slabs);
  }

  /** The first few names, and how many there were. */
  private static final class Names {
    private final List<String> first = new ArrayList<>();
    private int count;

    void add(String name) {
      if (count++ < LISTED) {
        first.add(quote(name));
      }
    }

    @Override
    public String toString() {
      String list = String.join(", ", first) + (count > LISTED ? ", ..." : "");
      return count + (count == 1 ? " tensor: " : " tensors: ") + list;
    }
  }
}
