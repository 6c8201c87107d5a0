package dev.gregale.convert;

import dev.gregale.checkpoint.CheckpointLayout;
import dev.gregale.checkpoint.ModelDimensions;
import dev.gregale.checkpoint.QuantizationConfig;
import dev.gregale.checkpoint.ScaleGrid;
import dev.gregale.convert.TensorRule.Run;
import dev.gregale.tensor.ScaleRows;
import dev.gregale.tensor.Shape;
import dev.gregale.tensor.WeightScaling;
import java.util.List;
import java.util.function.Predicate;
import java.util.stream.Stream;
import org.jspecify.annotations.Nullable;

/**
 * How scales go along with their weights. They keep Hugging Face's names, with TransformerEngine's
 * name of the weight in front, and every matrix keeps its own scales; their order follows from that
 * of the weight's rows ({@link ScaleGrid}).
 *
 * @param quantization of the source; null: there are no scales
 */
record ScaleMapping(ModelDimensions dims, @Nullable QuantizationConfig quantization) {
  private static final String WEIGHT = "weight";

  /**
   * Under what a weight's scales are stored in place of "weight"; none if it is not quantised.
   *
   * @param present whether there is a tensor of that name
   */
  List<String> suffixes(String weight, Predicate<String> present) {
    if (quantization == null) {
      return List.of();
    }
    return Stream.concat(
            quantization.scaleNames().stream(), quantization.inputScaleNames().stream())
        .filter(suffix -> present.test(name(weight, suffix)))
        .toList();
  }

  static String name(String weight, String suffix) {
    return weight.substring(0, weight.length() - WEIGHT.length()) + suffix;
  }

  static String weight(String name, String suffix) {
    return name.substring(0, name.length() - suffix.length()) + WEIGHT;
  }

  /** As the target's layout has it. */
  Shape shape(CheckpointLayout layout, String weight, Shape weightShape, String suffix) {
    WeightScaling scaling = scaling(suffix);
    boolean scalar =
        layout == CheckpointLayout.HUGGING_FACE
            && scaling.blockRows() == WeightScaling.WHOLE
            && quantization != null
            && !quantization.method().equals(QuantizationConfig.COMPRESSED_TENSORS);
    return scalar ? Shape.of() : ScaleGrid.of(layout, weight, weightShape, dims, scaling).shape();
  }

  private WeightScaling scaling(String suffix) {
    if (quantization == null) {
      throw new IllegalStateException("no quantization");
    }
    WeightScaling scaling = quantization.scaling();
    return quantization.inputScaleNames().contains(suffix)
        ? WeightScaling.ofWhole(scaling.inputs())
        : scaling;
  }

  /**
   * Of which scales of Hugging Face's those of a TransformerEngine weight consist.
   *
   * @param width of the weight
   * @param weightRuns of what the weight itself consists
   */
  List<Run> runs(long width, List<Run> weightRuns, String suffix) {
    WeightScaling scaling = scaling(suffix);
    List<String> parts = weightRuns.stream().map(Run::source).distinct().toList();
    List<ScaleRows.Run> rows =
        weightRuns.stream()
            .map(
                run ->
                    new ScaleRows.Run(
                        parts.indexOf(run.source()), Math.toIntExact(run.elements() / width)))
            .toList();
    long columns = scaling.gridColumns(width);
    return ScaleRows.of(rows, scaling.blockRows()).gridRuns().stream()
        .map(run -> new Run(name(parts.get(run.part()), suffix), run.rows() * columns))
        .toList();
  }
}
