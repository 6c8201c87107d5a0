package dev.gregale.checkpoint;

import dev.gregale.tensor.ScaleRows;
import dev.gregale.tensor.Shape;
import java.util.ArrayList;
import java.util.EnumSet;
import java.util.List;
import java.util.Set;
import java.util.function.BiConsumer;
import java.util.regex.Matcher;
import java.util.regex.Pattern;

/**
 * The names and shapes under which a Mixtral's weights are stored. Axes: D hidden, H query heads, G
 * key/value heads, d head dim, E experts, I intermediate, V vocabulary.
 */
public enum CheckpointLayout {

  /** Hugging Face as published: q, k, v apart; w1 (gate), w3 (up), w2 (down) of each expert. */
  HUGGING_FACE(".block_sparse_moe."),

  /** Hugging Face with transformers 5's names in memory: q, k, v apart, experts stacked. */
  HUGGING_FACE_FUSED(".mlp.experts."),

  /** TransformerEngine's: q, k, v interleaved by key/value group, experts stacked. */
  TRANSFORMER_ENGINE(".self_attention.");

  private static final List<String> IGNORED =
      List.of(
          "_extra_state",
          ".rotary_emb.inv_freq",
          ".k_scale",
          ".v_scale",
          ".kv_scale",
          ".k_proj.output_scale",
          ".v_proj.output_scale");

  private static final Pattern QUANTISABLE =
      Pattern.compile(
          "model\\.layers\\.(\\d+)\\.(self_attn\\.[qkvo]_proj\\.weight"
              + "|block_sparse_moe\\.experts\\.\\d+\\.w[123]\\.weight"
              + "|self_attention\\.(layernorm_qkv|proj)\\.weight"
              + "|mlp\\.experts_(gate_up|down)_weight)");

  private final String mark;

  /**
   * @param mark occurs in names of this layout only
   */
  CheckpointLayout(String mark) {
    this.mark = mark;
  }

  /**
   * Recognises a layout by its names.
   *
   * @throws CheckpointException if it is none of the known ones, or several at once
   */
  public static CheckpointLayout of(Checkpoint checkpoint) {
    Set<CheckpointLayout> found = EnumSet.noneOf(CheckpointLayout.class);
    for (String name : checkpoint.names()) {
      for (CheckpointLayout layout : values()) {
        if (!isIgnored(name) && name.contains(layout.mark)) {
          found.add(layout);
        }
      }
    }
    if (found.size() != 1) {
      String first =
          checkpoint.names().stream().findFirst().map(CheckpointException::quote).orElse("none");
      throw new CheckpointException(
          "%s: found tensors of %s (the first is %s), expected a Mixtral in one of the layouts %s"
              .formatted(
                  checkpoint.directory(),
                  found.isEmpty() ? "no known layout" : "several layouts: " + found,
                  first,
                  EnumSet.allOf(CheckpointLayout.class)));
    }
    return found.iterator().next();
  }

  /**
   * Whether a tensor is no weight: TransformerEngine's pickled states, which must never be decoded,
   * the RoPE frequencies that older files hold, and fixed scales of a KV cache, whose tokens have
   * scales of their own here.
   */
  public static boolean isIgnored(String name) {
    return IGNORED.stream().anyMatch(name::endsWith);
  }

  /**
   * Whether a weight of Hugging Face's published layout or TransformerEngine's may be quantised:
   * the projections of attention and experts, never router, norms, embedding or head.
   */
  public static boolean isQuantisable(String name) {
    return QUANTISABLE.matcher(name).matches();
  }

  /**
   * Whether a tensor of TransformerEngine's layout is all experts' weights or their scales: {@code
   * [E, ...]}, of which a rank has some of the E.
   */
  public static boolean isStackedExperts(String name) {
    return name.contains(".mlp.experts_");
  }

  /** The layer of a weight that may be quantised. */
  public static int layerOf(String quantisable) {
    Matcher matcher = QUANTISABLE.matcher(quantisable);
    if (!matcher.matches()) {
      throw new IllegalArgumentException(quantisable + " is never quantised");
    }
    return Integer.parseInt(matcher.group(1));
  }

  /**
   * Whose rows the rows of a weight that may be quantised are, first to last: of q, k and v; of
   * gate and up of expert after expert; of down of expert after expert; or of a single matrix. Each
   * of these parts keeps scales of its own.
   *
   * @param shape of the weight, or of some experts of it
   */
  public List<ScaleRows.Run> parts(String name, Shape shape, ModelDimensions dims) {
    List<ScaleRows.Run> runs = new ArrayList<>();
    if (this != TRANSFORMER_ENGINE || name.endsWith(".proj.weight")) {
      runs.add(new ScaleRows.Run(0, shape.intDim(0)));
    } else if (name.endsWith(".layernorm_qkv.weight")) {
      int head = dims.headDim();
      for (int group = 0; group < dims.numKvHeads(); group++) {
        runs.add(new ScaleRows.Run(0, dims.numHeads() / dims.numKvHeads() * head));
        runs.add(new ScaleRows.Run(1, head));
        runs.add(new ScaleRows.Run(2, head));
      }
    } else {
      int perExpert = name.endsWith("gate_up_weight") ? 2 : 1;
      for (int part = 0; part < perExpert * shape.intDim(0); part++) {
        runs.add(new ScaleRows.Run(part, shape.intDim(1) / perExpert));
      }
    }
    return runs;
  }

  /** Hands out the name and shape of every tensor of this layout, in the order of the forward. */
  public void forEachTensor(ModelDimensions dims, BiConsumer<String, Shape> action) {
    Shape vocabulary = Shape.of(dims.vocabSize(), dims.hiddenSize());
    action.accept("model.embed_tokens.weight", vocabulary);
    for (int layer = 0; layer < dims.numLayers(); layer++) {
      String prefix = prefix(layer);
      Shape norm = Shape.of(dims.hiddenSize());
      attention(prefix, dims, norm, action);
      action.accept(prefix + "post_attention_layernorm.weight", norm);
      experts(prefix, dims, action);
    }
    action.accept("model.norm.weight", Shape.of(dims.hiddenSize()));
    if (!dims.tiedEmbeddings()) {
      action.accept("lm_head.weight", vocabulary);
    }
  }

  static String prefix(int layer) {
    return "model.layers." + layer + ".";
  }

  private void attention(
      String prefix, ModelDimensions dims, Shape norm, BiConsumer<String, Shape> action) {
    long hidden = dims.hiddenSize();
    Shape output = Shape.of(hidden, dims.queryWidth());
    if (this == TRANSFORMER_ENGINE) {
      action.accept(prefix + "self_attention.layernorm_qkv.layer_norm_weight", norm);
      action.accept(
          prefix + "self_attention.layernorm_qkv.weight", Shape.of(dims.qkvWidth(), hidden));
      action.accept(prefix + "self_attention.proj.weight", output);
    } else {
      action.accept(prefix + "input_layernorm.weight", norm);
      action.accept(prefix + "self_attn.q_proj.weight", Shape.of(dims.queryWidth(), hidden));
      action.accept(prefix + "self_attn.k_proj.weight", Shape.of(dims.keyWidth(), hidden));
      action.accept(prefix + "self_attn.v_proj.weight", Shape.of(dims.keyWidth(), hidden));
      action.accept(prefix + "self_attn.o_proj.weight", output);
    }
  }

  private void experts(String prefix, ModelDimensions dims, BiConsumer<String, Shape> action) {
    long experts = dims.numExperts();
    long hidden = dims.hiddenSize();
    long inner = dims.intermediateSize();
    Shape router = Shape.of(experts, hidden);
    Shape gateUp = Shape.of(experts, 2 * inner, hidden);
    Shape down = Shape.of(experts, hidden, inner);
    switch (this) {
      case HUGGING_FACE -> {
        action.accept(prefix + "block_sparse_moe.gate.weight", router);
        for (int e = 0; e < experts; e++) {
          String expert = prefix + "block_sparse_moe.experts." + e + ".";
          action.accept(expert + "w1.weight", Shape.of(inner, hidden));
          action.accept(expert + "w3.weight", Shape.of(inner, hidden));
          action.accept(expert + "w2.weight", Shape.of(hidden, inner));
        }
      }
      case HUGGING_FACE_FUSED -> {
        action.accept(prefix + "mlp.gate.weight", router);
        action.accept(prefix + "mlp.experts.gate_up_proj", gateUp);
        action.accept(prefix + "mlp.experts.down_proj", down);
      }
      case TRANSFORMER_ENGINE -> {
        action.accept(prefix + "mlp.gate.weight", router);
        action.accept(prefix + "mlp.experts_gate_up_weight", gateUp);
        action.accept(prefix + "mlp.experts_down_weight", down);
      }
    }
  }
}
