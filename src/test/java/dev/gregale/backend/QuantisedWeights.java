package dev.gregale.backend;

import dev.gregale.backend.TwoSides.Pair;
import dev.gregale.quantization.Float8BlockScaling;
import dev.gregale.quantization.Float8CurrentScaling;
import dev.gregale.quantization.MXFP8BlockScaling;
import dev.gregale.quantization.MXFP8BlockScaling.Rounding;
import dev.gregale.quantization.Recipe;
import dev.gregale.quantization.WeightQuantizer;
import dev.gregale.tensor.HostScales;
import dev.gregale.tensor.HostTensor;
import dev.gregale.tensor.InputScaling;
import dev.gregale.tensor.InputScaling.When;
import dev.gregale.tensor.Shape;
import java.lang.foreign.Arena;
import java.util.List;
import java.util.Objects;

/** Quantised weights on both sides of a contract: the same codes and scales. */
final class QuantisedWeights {
  private QuantisedWeights() {}

  /** What weights may be quantised by. */
  static List<Recipe> recipes() {
    return List.of(
        new Float8CurrentScaling(),
        new Float8BlockScaling(true),
        new Float8BlockScaling(false),
        new MXFP8BlockScaling(Rounding.UP));
  }

  /**
   * Random values that span many octaves from row to row, so that a wrong scale shows.
   *
   * @param partRows rows of each matrix with scales of its own
   */
  static Pair weight(
      TwoSides sides,
      WeightRole role,
      Shape shape,
      double scale,
      List<Integer> partRows,
      Recipe recipe,
      When when) {
    InputScaling inputs = recipe.weights(when).inputs();
    return weight(sides, role, shape, scale, partRows, recipe, inputs);
  }

  /** The same with inputs that are quantised in another way than the recipe's own. */
  static Pair weight(
      TwoSides sides,
      WeightRole role,
      Shape shape,
      double scale,
      List<Integer> partRows,
      Recipe recipe,
      InputScaling inputs) {
    try (Arena arena = Arena.ofShared()) { // what is uploaded must outlive it
      HostTensor codes =
          new WeightQuantizer(values(sides, shape, scale), partRows, recipe, inputs.when())
              .toTensor(arena);
      HostScales scales = Objects.requireNonNull(codes.scales());
      return sides.upload(
          role,
          new HostTensor(codes.name(), codes.dtype(), shape, codes.slabs(), scales.with(inputs)));
    }
  }

  private static HostTensor values(TwoSides sides, Shape shape, double scale) {
    float[] values = sides.gaussians(shape, scale);
    int width = shape.intDim(shape.rank() - 1);
    for (int i = 0; i < values.length; i++) {
      values[i] *= 1f / (1 << (i / width * 5 % 7));
    }
    return HostTensor.of("random", shape, values);
  }
}
