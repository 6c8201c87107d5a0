package dev.gregale.convert;

import static dev.gregale.checkpoint.CheckpointLayout.HUGGING_FACE;
import static dev.gregale.checkpoint.CheckpointLayout.TRANSFORMER_ENGINE;

import dev.gregale.checkpoint.Checkpoint;
import dev.gregale.checkpoint.CheckpointException;
import dev.gregale.checkpoint.CheckpointLayout;
import dev.gregale.checkpoint.CheckpointReader;
import dev.gregale.checkpoint.ModelDimensions;
import dev.gregale.convert.TensorRule.Merge;
import dev.gregale.convert.TensorRule.Rename;
import dev.gregale.convert.TensorRule.Run;
import dev.gregale.convert.TensorRule.Stack;
import dev.gregale.tensor.HostTensor;
import dev.gregale.tensor.Shape;
import java.lang.foreign.MemorySegment;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.function.BiConsumer;
import java.util.stream.Stream;

/**
 * Mixtral's tensors from Hugging Face's names to TransformerEngine's and back: one table, read in
 * either direction. Nothing is copied: what comes out are slabs of the mapped source.
 */
public final class MixtralTensorMapping {

  private static final String LM_HEAD = "lm_head.weight";
  private static final String LAYER = "model.layers.{layer}.";
  private static final String ATTENTION = LAYER + "self_attn.";
  private static final String TE_ATTENTION = LAYER + "self_attention.";
  private static final String MOE = LAYER + "block_sparse_moe.";
  private static final String EXPERT = MOE + "experts.{expert}.";
  private static final String MLP = LAYER + "mlp.";

  private static final List<TensorRule> COMMON =
      List.of(
          same("model.embed_tokens.weight"),
          new Rename(
              LAYER + "input_layernorm.weight", TE_ATTENTION + "layernorm_qkv.layer_norm_weight"),
          new Merge(
              List.of(
                  ATTENTION + "q_proj.weight",
                  ATTENTION + "k_proj.weight",
                  ATTENTION + "v_proj.weight"),
              TE_ATTENTION + "layernorm_qkv.weight"),
          new Rename(ATTENTION + "o_proj.weight", TE_ATTENTION + "proj.weight"),
          same(LAYER + "post_attention_layernorm.weight"),
          same("model.norm.weight"),
          same(LM_HEAD));

  /** w1 is gate, w3 up, w2 down. */
  private static final List<TensorRule> PUBLISHED_EXPERTS =
      List.of(
          new Rename(MOE + "gate.weight", MLP + "gate.weight"),
          new Stack(
              List.of(EXPERT + "w1.weight", EXPERT + "w3.weight"), MLP + "experts_gate_up_weight"),
          new Stack(List.of(EXPERT + "w2.weight"), MLP + "experts_down_weight"));

  private static final List<TensorRule> FUSED_EXPERTS =
      List.of(
          same(MLP + "gate.weight"),
          new Rename(MLP + "experts.gate_up_proj", MLP + "experts_gate_up_weight"),
          new Rename(MLP + "experts.down_proj", MLP + "experts_down_weight"));

  private final Checkpoint source;
  private final ModelDimensions dims;

  private MixtralTensorMapping(Checkpoint source, ModelDimensions dims) {
    this.source = source;
    this.dims = dims;
  }

  /**
   * All tensors of a checkpoint in another layout, in the order of the forward.
   *
   * @param to {@link CheckpointLayout#HUGGING_FACE} or {@link CheckpointLayout#TRANSFORMER_ENGINE}
   * @throws CheckpointException if the source is not a complete model of those dimensions
   */
  public static List<HostTensor> map(Checkpoint source, CheckpointLayout to, ModelDimensions dims) {
    // Every name, shape and type is checked before any is used; codes are not converted.
    CheckpointReader.read(source, dims, null);
    return new MixtralTensorMapping(source, dims).to(to);
  }

  private List<HostTensor> to(CheckpointLayout to) {
    Map<String, HostTensor> merged = merged(CheckpointLayout.of(source));
    Map<String, HostTensor> mapped =
        switch (to) {
          case TRANSFORMER_ENGINE -> merged;
          case HUGGING_FACE -> split(merged);
          case HUGGING_FACE_FUSED ->
              throw new IllegalArgumentException("names of transformers 5 in memory: not written");
        };
    return shapes(to).keySet().stream().map(mapped::get).toList();
  }

  /** The source as TransformerEngine has it. */
  private Map<String, HostTensor> merged(CheckpointLayout from) {
    Map<String, HostTensor> merged = new HashMap<>();
    Map<String, Shape> targets = shapes(TRANSFORMER_ENGINE);
    if (from == TRANSFORMER_ENGINE) {
      targets.keySet().forEach(name -> merged.put(name, source.tensor(name)));
      return merged;
    }
    forEachRule(
        from,
        targets,
        (target, runs) -> {
          Map<String, SlabReader> readers = new HashMap<>();
          List<MemorySegment> slabs = new ArrayList<>();
          HostTensor first = source.tensor(runs.getFirst().source());
          for (Run run : runs) {
            readers
                .computeIfAbsent(run.source(), name -> new SlabReader(source.tensor(name)))
                .take(run.elements(), slabs);
          }
          Shape shape = shape(targets, target);
          merged.put(target, new HostTensor(target, first.dtype(), shape, slabs));
        });
    return merged;
  }

  /** The inverse, by dealing the elements of each TransformerEngine tensor out again. */
  private Map<String, HostTensor> split(Map<String, HostTensor> merged) {
    Map<String, HostTensor> split = new HashMap<>();
    Map<String, Shape> shapes = shapes(HUGGING_FACE);
    forEachRule(
        HUGGING_FACE,
        merged,
        (target, runs) -> {
          HostTensor whole = source(merged, target);
          SlabReader reader = new SlabReader(whole);
          Map<String, List<MemorySegment>> parts = new LinkedHashMap<>();
          for (Run run : runs) {
            reader.take(
                run.elements(), parts.computeIfAbsent(run.source(), name -> new ArrayList<>()));
          }
          parts.forEach(
              (name, slabs) ->
                  split.put(name, new HostTensor(name, whole.dtype(), shape(shapes, name), slabs)));
        });
    return split;
  }

  /** Hands out every TransformerEngine tensor among the targets with what it consists of. */
  private void forEachRule(
      CheckpointLayout huggingFace, Map<String, ?> targets, BiConsumer<String, List<Run>> action) {
    Map<String, Shape> shapes = shapes(huggingFace);
    List<TensorRule> experts = huggingFace == HUGGING_FACE ? PUBLISHED_EXPERTS : FUSED_EXPERTS;
    Stream.concat(COMMON.stream(), experts.stream())
        .forEach(
            rule -> {
              int layers = rule.target().contains(TensorRule.LAYER) ? dims.numLayers() : 1;
              for (int layer = 0; layer < layers; layer++) {
                String target = TensorRule.name(rule.target(), layer);
                if (targets.containsKey(target)) {
                  action.accept(
                      target, rule.runs(layer, dims, name -> shape(shapes, name).numElements()));
                }
              }
            });
  }

  /** A head beside a tied embedding, which need not be there, is carried along where it is. */
  private Map<String, Shape> shapes(CheckpointLayout layout) {
    Map<String, Shape> shapes = new LinkedHashMap<>();
    layout.forEachTensor(dims, shapes::put);
    if (source.contains(LM_HEAD)) {
      shapes.putIfAbsent(LM_HEAD, Shape.of(dims.vocabSize(), dims.hiddenSize()));
    }
    return shapes;
  }

  private static Shape shape(Map<String, Shape> shapes, String name) {
    Shape shape = shapes.get(name);
    if (shape == null) {
      throw new IllegalStateException("a rule names " + name + ", the layout does not");
    }
    return shape;
  }

  private static HostTensor source(Map<String, HostTensor> tensors, String name) {
    HostTensor tensor = tensors.get(name);
    if (tensor == null) {
      throw new IllegalStateException("no rule for " + name);
    }
    return tensor;
  }

  private static Rename same(String name) {
    return new Rename(name, name);
  }
}
