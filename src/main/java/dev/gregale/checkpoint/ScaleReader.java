package dev.gregale.checkpoint;

import static dev.gregale.checkpoint.CheckpointException.quote;

import dev.gregale.tensor.DType;
import dev.gregale.tensor.HostScales;
import dev.gregale.tensor.HostTensor;
import dev.gregale.tensor.InputScaling;
import dev.gregale.tensor.ScaleRows;
import dev.gregale.tensor.Shape;
import dev.gregale.tensor.SlabReader;
import dev.gregale.tensor.TensorReader;
import dev.gregale.tensor.WeightScaling;
import java.lang.foreign.MemorySegment;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import org.jspecify.annotations.Nullable;

/**
 * Finds and checks the scales of a checkpoint's quantised weights. One that is missing, of another
 * shape than its weight's, or no positive number is refused: a weight is never taken as unscaled.
 */
final class ScaleReader {
  private static final String WEIGHT = "weight";

  private final Checkpoint checkpoint;
  private final CheckpointLayout layout;
  private final ModelDimensions dims;
  private final @Nullable QuantizationConfig config;

  ScaleReader(
      Checkpoint checkpoint,
      CheckpointLayout layout,
      ModelDimensions dims,
      @Nullable QuantizationConfig config) {
    this.checkpoint = checkpoint;
    this.layout = layout;
    this.dims = dims;
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
                  .formatted(checkpoint.path(weight), quote(weight))
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
                  checkpoint.path(weight),
                  quote(weight),
                  found.isEmpty() ? "no" : "more than one",
                  String.join(" or ", candidates.stream().map(prefix::concat).toList())));
    }
    return found.getFirst();
  }

  /**
   * The scales of a quantised weight, part below part.
   *
   * @param weight the name of a tensor of codes
   * @throws CheckpointException if there are none, or they cannot be its scales
   */
  HostScales read(String weight) {
    QuantizationConfig config = config(weight);
    WeightScaling scaling = config.scaling();
    ScaleGrid grid = grid(weight, scaling);
    HostTensor stored = scales(find(weight, config.scaleNames()), scaling.dtype(), grid);
    if (!config.inputScaleNames().isEmpty()) {
      scaling = scaling.with(inputs(weight, config));
    }
    return new HostScales(scaling, partRows(weight), partByPart(stored, grid));
  }

  private ScaleGrid grid(String weight, WeightScaling scaling) {
    Shape shape = checkpoint.spec(weight).shape();
    return ScaleGrid.of(layout, weight, shape, dims, scaling);
  }

  /** Inputs are shared by all parts; the largest of their scales cuts off nothing of any. */
  private InputScaling inputs(String weight, QuantizationConfig config) {
    String name = find(weight, config.inputScaleNames());
    ScaleGrid one = grid(weight, WeightScaling.ofWhole(config.scaling().inputs()));
    float largest = 0;
    for (float scale : TensorReader.toFloats(scales(name, DType.F32, one))) {
      largest = Math.max(largest, scale);
    }
    InputScaling inputs = config.scaling().inputs();
    return new InputScaling(inputs.kind(), inputs.when(), largest);
  }

  private List<Integer> partRows(String weight) {
    Shape shape = checkpoint.spec(weight).shape();
    Map<Integer, Integer> rows = new TreeMap<>();
    layout
        .parts(weight, shape, dims)
        .forEach(run -> rows.merge(run.part(), run.rows(), Integer::sum));
    return List.copyOf(rows.values());
  }

  /** The grid's rows of the first part, then those of the second, and so on. */
  private static List<MemorySegment> partByPart(HostTensor stored, ScaleGrid grid) {
    SlabReader reader = new SlabReader(stored.slabs(), stored.dtype().bytes());
    Map<Integer, List<MemorySegment>> slabs = new TreeMap<>();
    for (ScaleRows.Run run : grid.rows().gridRuns()) {
      reader.take(
          (long) run.rows() * grid.columns(),
          slabs.computeIfAbsent(run.part(), part -> new ArrayList<>()));
    }
    return slabs.values().stream().flatMap(List::stream).toList();
  }

  /** As F32 or E8M0, all of them positive numbers. */
  private HostTensor scales(String name, DType dtype, ScaleGrid grid) {
    HostTensor stored = checkpoint.tensor(name);
    boolean exponents = dtype == DType.F8_E8M0;
    boolean typeFits =
        exponents
            ? stored.dtype() == DType.U8 || stored.dtype() == DType.F8_E8M0
            : stored.dtype().isWeight();
    if (!typeFits || !grid.fits(stored.shape())) {
      throw new CheckpointException(
          "%s: tensor %s: found %s %s, expected %s %s"
              .formatted(
                  checkpoint.path(name),
                  quote(name),
                  stored.dtype(),
                  stored.shape(),
                  exponents ? "U8 or F8_E8M0" : "F32, F16 or BF16",
                  grid.shape()));
    }
    HostTensor typed =
        exponents ? new HostTensor(name, dtype, stored.shape(), stored.slabs()) : stored;
    float[] values = TensorReader.toFloats(typed);
    for (float value : values) {
      if (!(value > 0 && value < Float.POSITIVE_INFINITY)) {
        throw new CheckpointException(
            "%s: tensor %s: found a scale of %s, expected positive numbers"
                .formatted(checkpoint.path(name), quote(name), value));
      }
    }
    return typed.dtype() == dtype ? typed : HostTensor.of(name, stored.shape(), values);
  }
}
