package dev.gregale.checkpoint;

import static dev.gregale.checkpoint.CheckpointException.quote;

import dev.gregale.checkpoint.CheckpointWeights.Layer;
import dev.gregale.tensor.DType;
import dev.gregale.tensor.HostScales;
import dev.gregale.tensor.HostTensor;
import dev.gregale.tensor.Shape;
import java.lang.foreign.MemorySegment;
import java.util.ArrayList;
import java.util.HashSet;
import java.util.List;
import java.util.Set;
import java.util.stream.Stream;
import org.jspecify.annotations.Nullable;

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
  private final @Nullable QuantizationConfig quantization;
  private final ScaleReader scales;

  private CheckpointReader(
      Checkpoint checkpoint,
      CheckpointLayout layout,
      ModelDimensions dims,
      @Nullable QuantizationConfig quantization) {
    this.checkpoint = checkpoint;
    this.layout = layout;
    this.dims = dims;
    this.quantization = quantization;
    this.scales = new ScaleReader(checkpoint, layout, dims, quantization);
  }

  /**
   * Reads the weights of a model of those dimensions.
   *
   * @throws CheckpointException if the layout is unknown, or a tensor is missing, has no place in
   *     the model, has another shape than the dimensions say, or is not F32, F16 or BF16, or codes
   *     with their scales
   */
  public static CheckpointWeights read(
      Checkpoint checkpoint, ModelDimensions dims, @Nullable QuantizationConfig quantization) {
    CheckpointReader reader =
        new CheckpointReader(checkpoint, CheckpointLayout.of(checkpoint), dims, quantization);
    reader.requireAllTensors();
    return reader.weights();
  }

  private void requireAllTensors() {
    Names missing = new Names();
    Set<String> known = new HashSet<>();
    Names quantised = new Names();
    layout.forEachTensor(
        dims,
        (name, shape) -> {
          if (checkpoint.contains(name)) {
            known.add(name);
            requireTensor(name, shape);
            if (isQuantised(name)) {
              known.addAll(scales.names(name));
              quantised.add(name);
            }
          } else {
            missing.add(name);
          }
        });
    if (missing.count > 0) {
      throw new CheckpointException(
          "%s: %s layout: missing %s".formatted(checkpoint.directory(), layout, missing));
    }
    if (quantization != null && quantised.count == 0) {
      throw new CheckpointException(
          "%s: config.json has a quantization_config of %s, but no weight is F8_E4M3"
              .formatted(checkpoint.directory(), quantization.method()));
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
    TensorSpec found = checkpoint.spec(name);
    boolean quantisable = CheckpointLayout.isQuantisable(name);
    if (!found.dtype().isWeight() && !(isQuantised(name) && quantisable)) {
      throw new CheckpointException(
          "%s: tensor %s: found dtype %s, expected F32, F16 or BF16%s"
              .formatted(
                  checkpoint.path(name),
                  quote(name),
                  found.dtype(),
                  quantisable ? ", or F8_E4M3 with scales" : whyNoCodes(name)));
    }
    if (!found.shape().equals(expected)) {
      throw new CheckpointException(
          "%s: tensor %s: found shape %s, expected %s%s"
              .formatted(
                  checkpoint.path(name),
                  quote(name),
                  found.shape(),
                  expected,
                  isShare(name, found.shape(), expected)
                      ? " (experts of some ranks only; bring the files of all ranks together)"
                      : ""));
    }
  }

  private static boolean isShare(String name, Shape found, Shape whole) {
    return CheckpointLayout.isStackedExperts(name)
        && found.rank() == whole.rank()
        && found.dim(0) < whole.dim(0);
  }

  private String whyNoCodes(String name) {
    boolean isFused =
        layout == CheckpointLayout.HUGGING_FACE_FUSED && name.contains(".mlp.experts.");
    return isFused
        ? " (codes are read under the published names only; save the model under them)"
        : " (this one is never quantised)";
  }

  private boolean isQuantised(String name) {
    return checkpoint.spec(name).dtype() == DType.F8_E4M3;
  }

  private void requireTied() {
    MemorySegment head = checkpoint.slabs("lm_head.weight").getFirst();
    if (head.mismatch(checkpoint.slabs("model.embed_tokens.weight").getFirst()) >= 0) {
      throw new CheckpointException(
          checkpoint.path("lm_head.weight")
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
        join(
            prefix + "self_attn.o_proj.weight",
            Shape.of(dims.hiddenSize(), dims.queryWidth()),
            List.of(prefix + "self_attn.o_proj.weight")),
        checkpoint.tensor(prefix + "post_attention_layernorm.weight"),
        checkpoint.tensor(prefix + (stacked ? "mlp" : "block_sparse_moe") + ".gate.weight"),
        stacked ? checkpoint.tensor(prefix + "mlp.experts.gate_up_proj") : gateUp(prefix),
        stacked ? checkpoint.tensor(prefix + "mlp.experts.down_proj") : down(prefix));
  }

  private Layer transformerEngineLayer(int layer) {
    String prefix = CheckpointLayout.prefix(layer);
    return new Layer(
        checkpoint.tensor(prefix + "self_attention.layernorm_qkv.layer_norm_weight"),
        deinterleaved(prefix + "self_attention.layernorm_qkv.weight"),
        projection(prefix + "self_attention.proj.weight"),
        checkpoint.tensor(prefix + "post_attention_layernorm.weight"),
        checkpoint.tensor(prefix + "mlp.gate.weight"),
        projection(prefix + "mlp.experts_gate_up_weight"),
        projection(prefix + "mlp.experts_down_weight"));
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

  /** The parts one after the other, as one tensor; each keeps its own scales, if it has any. */
  private HostTensor join(String name, Shape shape, List<String> parts) {
    DType dtype = checkpoint.spec(parts.getFirst()).dtype();
    List<MemorySegment> slabs = new ArrayList<>();
    for (String part : parts) {
      DType found = checkpoint.spec(part).dtype();
      if (found != dtype) {
        throw new CheckpointException(
            "%s: tensor %s: found dtype %s, expected %s as in %s, with which it is one matrix"
                .formatted(
                    checkpoint.path(part), quote(part), found, dtype, quote(parts.getFirst())));
      }
      slabs.addAll(checkpoint.slabs(part));
    }
    HostScales joined =
        dtype == DType.F8_E4M3 ? HostScales.join(parts.stream().map(scales::read).toList()) : null;
    return new HostTensor(name, dtype, shape, slabs, joined);
  }

  /** A tensor as it is, with its scales, if it has any. */
  private HostTensor projection(String name) {
    return projection(name, checkpoint.slabs(name));
  }

  private HostTensor projection(String name, List<MemorySegment> slabs) {
    TensorSpec spec = checkpoint.spec(name);
    HostScales own = isQuantised(name) ? scales.read(name) : null;
    return new HostTensor(name, spec.dtype(), spec.shape(), slabs, own);
  }

  /**
   * From rows (H/G query heads, a key head, a value head) per key/value group to all query, all key
   * and all value rows.
   */
  private HostTensor deinterleaved(String name) {
    MemorySegment bytes = checkpoint.slabs(name).getFirst();
    int elementBytes = checkpoint.spec(name).dtype().bytes();
    long headBytes = (long) dims.headDim() * dims.hiddenSize() * elementBytes;
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
    return projection(name, slabs);
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
