package dev.gregale.convert;

import static dev.gregale.checkpoint.CheckpointException.quote;
import static dev.gregale.checkpoint.CheckpointLayout.HUGGING_FACE;
import static dev.gregale.checkpoint.CheckpointLayout.TRANSFORMER_ENGINE;

import dev.gregale.checkpoint.Checkpoint;
import dev.gregale.checkpoint.CheckpointException;
import dev.gregale.checkpoint.CheckpointLayout;
import dev.gregale.checkpoint.CheckpointReader;
import dev.gregale.checkpoint.ModelDimensions;
import dev.gregale.checkpoint.QuantizationConfig;
import dev.gregale.checkpoint.TensorSpec;
import dev.gregale.convert.TensorRule.Merge;
import dev.gregale.convert.TensorRule.Rename;
import dev.gregale.convert.TensorRule.Run;
import dev.gregale.convert.TensorRule.Stack;
import dev.gregale.tensor.DType;
import dev.gregale.tensor.HostTensor;
import dev.gregale.tensor.Shape;
import dev.gregale.tensor.SlabReader;
import java.lang.foreign.MemorySegment;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.function.BiConsumer;
import java.util.function.Function;
import java.util.stream.Stream;
import org.jspecify.annotations.Nullable;

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
  private final ScaleMapping scales;

  private MixtralTensorMapping(
      Checkpoint source, ModelDimensions dims, @Nullable QuantizationConfig quantization) {
    this.source = source;
    this.dims = dims;
    this.scales = new ScaleMapping(dims, quantization);
  }

  /**
   * All tensors of a checkpoint in another layout, in the order of the forward. Codes are plain
   * bytes (U8) here: what moves them need not know what they mean. Their scales follow them.
   *
   * @param to {@link CheckpointLayout#HUGGING_FACE} or {@link CheckpointLayout#TRANSFORMER_ENGINE}
   * @param quantization of the source; null: its weights are not quantised
   * @throws CheckpointException if the source is not a complete model of those dimensions
   */
  public static List<HostTensor> map(
      Checkpoint source,
      CheckpointLayout to,
      ModelDimensions dims,
      @Nullable QuantizationConfig quantization) {
    // Every name, shape and type is checked before any is used.
    CheckpointReader.read(source, dims, quantization);
    return new MixtralTensorMapping(source, dims, quantization).to(to);
  }

  /** Whether a mapped tensor is codes of a quantised weight. */
  static boolean isCodes(HostTensor mapped) {
    return mapped.dtype() == DType.U8 && CheckpointLayout.isQuantisable(mapped.name());
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
    List<HostTensor> tensors = new ArrayList<>();
    for (String name : shapes(to).keySet()) {
      tensors.add(source(mapped, name));
      for (String suffix : scales.suffixes(name, mapped::containsKey)) {
        tensors.add(source(mapped, ScaleMapping.name(name, suffix)));
      }
    }
    return tensors;
  }

  /** The source as TransformerEngine has it. */
  private Map<String, HostTensor> merged(CheckpointLayout from) {
    Map<String, HostTensor> merged = new HashMap<>();
    Map<String, Shape> targets = shapes(TRANSFORMER_ENGINE);
    if (from == TRANSFORMER_ENGINE) {
      for (String name : targets.keySet()) {
        merged.put(name, stored(name));
        for (String suffix : scales.suffixes(name, source::contains)) {
          String scale = ScaleMapping.name(name, suffix);
          merged.put(scale, stored(scale));
        }
      }
      return merged;
    }
    forEachRule(
        from,
        targets,
        (target, runs) -> {
          Shape shape = shape(targets, target);
          merged.put(target, gathered(target, shape, runs));
          for (String suffix : scales.suffixes(runs.getFirst().source(), source::contains)) {
            String scale = ScaleMapping.name(target, suffix);
            Shape grid = scales.shape(TRANSFORMER_ENGINE, target, shape, suffix);
            merged.put(scale, gathered(scale, grid, scales.runs(width(shape), runs, suffix)));
          }
        });
    return merged;
  }

  /** A tensor of the source; codes are plain bytes. */
  private HostTensor stored(String name) {
    TensorSpec spec = source.spec(name);
    DType dtype = spec.dtype() == DType.F8_E4M3 ? DType.U8 : spec.dtype();
    return new HostTensor(name, dtype, spec.shape(), source.slabs(name));
  }

  private HostTensor gathered(String target, Shape shape, List<Run> runs) {
    Map<String, SlabReader> readers = new HashMap<>();
    List<MemorySegment> slabs = new ArrayList<>();
    DType dtype = stored(runs.getFirst().source()).dtype();
    for (Run run : runs) {
      HostTensor part = stored(run.source());
      if (part.dtype() != dtype) {
        throw new CheckpointException(
            "%s: tensor %s: found dtype %s, expected %s as in %s, with which it becomes one tensor"
                .formatted(
                    source.path(part.name()),
                    quote(part.name()),
                    part.dtype(),
                    dtype,
                    quote(runs.getFirst().source())));
      }
      readers.computeIfAbsent(run.source(), name -> reader(part)).take(run.elements(), slabs);
    }
    return new HostTensor(target, dtype, shape, slabs);
  }

  private static SlabReader reader(HostTensor tensor) {
    return new SlabReader(tensor.slabs(), tensor.dtype().bytes());
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
          deal(whole, runs, name -> shape(shapes, name), split);
          for (String suffix : scales.suffixes(target, merged::containsKey)) {
            deal(
                source(merged, ScaleMapping.name(target, suffix)),
                scales.runs(width(whole.shape()), runs, suffix),
                name -> {
                  String weight = ScaleMapping.weight(name, suffix);
                  return scales.shape(HUGGING_FACE, weight, shape(shapes, weight), suffix);
                },
                split);
          }
        });
    return split;
  }

  private static void deal(
      HostTensor whole,
      List<Run> runs,
      Function<String, Shape> shapes,
      Map<String, HostTensor> split) {
    SlabReader reader = reader(whole);
    Map<String, List<MemorySegment>> parts = new LinkedHashMap<>();
    for (Run run : runs) {
      reader.take(run.elements(), parts.computeIfAbsent(run.source(), name -> new ArrayList<>()));
    }
    parts.forEach(
        (name, slabs) ->
            split.put(name, new HostTensor(name, whole.dtype(), shapes.apply(name), slabs)));
  }

  private static long width(Shape shape) {
    return shape.dim(shape.rank() - 1);
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
