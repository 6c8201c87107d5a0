package dev.gregale.convert;

import dev.gregale.checkpoint.ModelDimensions;
import java.util.ArrayList;
import java.util.List;
import java.util.function.ToLongFunction;

/**
 * What one TransformerEngine tensor consists of. Names may hold {@code {layer}} and, in a {@link
 * Stack}, {@code {expert}}. A rule only says in which order the elements come; both directions
 * follow from it, see {@link MixtralTensorMapping}.
 */
sealed interface TensorRule {

  String LAYER = "{layer}";
  String EXPERT = "{expert}";

  /**
   * The next elements of a Hugging Face tensor, row-major.
   *
   * @param source its name, all of whose elements occur once and in order in the runs of a rule
   */
  record Run(String source, long elements) {}

  /** The name of the TransformerEngine tensor. */
  String target();

  /**
   * The TransformerEngine tensor, first to last element.
   *
   * @param elements number of elements of a Hugging Face tensor
   */
  List<Run> runs(int layer, ModelDimensions dims, ToLongFunction<String> elements);

  /** The same tensor under another name. */
  record Rename(String source, String target) implements TensorRule {
    @Override
    public List<Run> runs(int layer, ModelDimensions dims, ToLongFunction<String> elements) {
      return List.of(whole(name(source, layer), elements));
    }
  }

  /**
   * Parts interleaved by key/value group: of each part its rows of group 0, then its rows of group
   * 1, and so on. Of q, k and v that is H/G query heads, a key head and a value head per group.
   */
  record Merge(List<String> sources, String target) implements TensorRule {
    @Override
    public List<Run> runs(int layer, ModelDimensions dims, ToLongFunction<String> elements) {
      List<Run> runs = new ArrayList<>();
      for (int group = 0; group < dims.numKvHeads(); group++) {
        for (String source : sources) {
          String name = name(source, layer);
          runs.add(new Run(name, elements.applyAsLong(name) / dims.numKvHeads()));
        }
      }
      return runs;
    }
  }

  /** Expert after expert, each of them its parts one after the other. */
  record Stack(List<String> sources, String target) implements TensorRule {
    @Override
    public List<Run> runs(int layer, ModelDimensions dims, ToLongFunction<String> elements) {
      List<Run> runs = new ArrayList<>();
      for (int expert = 0; expert < dims.numExperts(); expert++) {
        for (String source : sources) {
          String name = name(source, layer).replace(EXPERT, Integer.toString(expert));
          runs.add(whole(name, elements));
        }
      }
      return runs;
    }
  }

  /** The name of a layer's tensor. */
  static String name(String pattern, int layer) {
    return pattern.replace(LAYER, Integer.toString(layer));
  }

  private static Run whole(String name, ToLongFunction<String> elements) {
    return new Run(name, elements.applyAsLong(name));
  }
}
