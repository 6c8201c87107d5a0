package dev.gregale.checkpoint;

import static dev.gregale.checkpoint.CheckpointException.quote;

import dev.gregale.tensor.DType;
import dev.gregale.tensor.HostScales;
import dev.gregale.tensor.HostTensor;
import dev.gregale.tensor.InputScaling;
import dev.gregale.tensor.Shape;
import dev.gregale.tensor.TensorReader;
import dev.gregale.tensor.WeightScaling;
import java.lang.foreign.MemorySegment;
import java.util.ArrayList;
import java.util.List;
import org.jspecify.annotations.Nullable;

/**
 * Finds and checks the scales of a checkpoint's quantised weights. One that is missing, of another
 * shape than its weight's, or no positive number is refused: a weight is never taken as unscaled.
 */
final class ScaleReader {
  private static final String WEIGHT = "weight";

  private final Checkpoint checkpoint;
  private final @Nullable QuantizationConfig config;

  ScaleReader(Checkpoint checkpoint, @Nullable QuantizationConfig config) {
    this.checkpoint = checkpoint;
    this.config = config;
  }

  /** The names of all scales that belong to a quantised weight. */
  List<String> names(String weight) {
    QuantizationConfig config = config(weight);
    List<String> names = new ArrayList<>();
    names.add(find(weight, config.scaleNames()));
    if (!config.inputScaleNames().isEmpty()) {
      names.add(find(weight, config.inputScaleNames()));
    }
    return names;
  }

  private QuantizationConfig config(String weight) {
    if (config == null) {
      throw new CheckpointException(
          "%s: tensor %s: found dtype F8_E4M3, but config.json has no quantization_config that"
                  .formatted(checkpoint.file(weight).path(), quote(weight))
              + " says what its scales are");
    }
    return config;
  }

  private String find(String weight, List<String> candidates) {
    String prefix = weight.substring(0, weight.length() - WEIGHT.length());
    List<String> found =
        candidates.stream().map(prefix::concat).filter(checkpoint::contains).toList();
    if (found.size() != 1) {
      throw new CheckpointException(
          "%s: tensor %s: found %s scale, expected one named %s"
              .formatted(
                  checkpoint.file(weight).path(),
                  quote(weight),
                  found.isEmpty() ? "no" : "more than one",
                  String.join(" or ", candidates.stream().map(prefix::concat).toList())));
    }
    return found.getFirst();
  }

  /**
   * The scales of a quantised weight.
   *
   * @param weight the name of a matrix of codes
   * @throws CheckpointException if there are none, or they cannot be its scales
   */
  HostScales read(String weight) {
    QuantizationConfig config = config(weight);
    Shape shape = checkpoint.file(weight).info(weight).shape();
    WeightScaling scaling = config.scaling();
    String name = find(weight, config.scaleNames());
    Shape grid = Shape.of(scaling.gridRows(shape.dim(0)), scaling.gridColumns(shape.dim(1)));
    MemorySegment scales = scales(name, scaling.dtype(), grid);
    if (!config.inputScaleNames().isEmpty()) {
      String input = find(weight, config.inputScaleNames());
      HostTensor one = typed(input, DType.F32, scales(input, DType.F32, Shape.of(1, 1)), 1);
      InputScaling.Kind kind = scaling.inputs().kind();
      scaling =
          scaling.with(
              new InputScaling(kind, scaling.inputs().when(), TensorReader.toFloats(one)[0]));
    }
    return new HostScales(scaling, List.of(shape.intDim(0)), List.of(scales));
  }

  private static HostTensor typed(String name, DType dtype, MemorySegment bytes, long count) {
    return new HostTensor(name, dtype, Shape.of(count), List.of(bytes));
  }

  /** As F32 or E8M0, all of them positive numbers. */
  private MemorySegment scales(String name, DType dtype, Shape grid) {
    HostTensor stored = checkpoint.tensor(name);
    long count = stored.shape().numElements();
    boolean exponents = dtype == DType.F8_E8M0;
    boolean typeFits =
        exponents
            ? stored.dtype() == DType.U8 || stored.dtype() == DType.F8_E8M0
            : stored.dtype().isWeight();
    if (!typeFits || !fits(stored.shape(), grid)) {
      throw new CheckpointException(
          "%s: tensor %s: found %s %s, expected %s %s"
              .formatted(
                  checkpoint.file(name).path(),
                  quote(name),
                  stored.dtype(),
                  stored.shape(),
                  exponents ? "U8 or F8_E8M0" : "F32, F16 or BF16",
                  grid));
    }
    MemorySegment bytes = stored.slabs().getFirst();
    float[] values =
        TensorReader.toFloats(
            typed(name, exponents ? DType.F8_E8M0 : stored.dtype(), bytes, count));
    for (float value : values) {
      if (!(value > 0 && value < Float.POSITIVE_INFINITY)) {
        throw new CheckpointException(
            "%s: tensor %s: found a scale of %s, expected positive numbers"
                .formatted(checkpoint.file(name).path(), quote(name), value));
      }
    }
    return exponents || stored.dtype() == DType.F32 ? bytes : MemorySegment.ofArray(values);
  }

  /** A single scale may be a scalar or a vector; so may one per row. */
  private static boolean fits(Shape found, Shape grid) {
    return found.equals(grid)
        || grid.dim(1) == 1 && found.rank() < 2 && found.numElements() == grid.dim(0);
  }
}
