package dev.gregale.backend;

import dev.gregale.backend.TwoSides.Pair;
import dev.gregale.quantization.Float8BlockScaling;
import dev.gregale.quantization.Float8CurrentScaling;
import dev.gregale.quantization.MXFP8BlockScaling;
import dev.gregale.quantization.MXFP8BlockScaling.Rounding;
import dev.gregale.quantization.Recipe;
import dev.gregale.quantization.WeightQuantizer;
import dev.gregale.tensor.DType;
import dev.gregale.tensor.E4M3;
import dev.gregale.tensor.HostScales;
import dev.gregale.tensor.HostTensor;
import dev.gregale.tensor.InputScaling;
import dev.gregale.tensor.InputScaling.When;
import dev.gregale.tensor.Shape;
import dev.gregale.tensor.TensorReader;
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
   * A weight on both sides, and what it means.
   *
   * @param values as the candidate multiplies them, {@code [rows, width]}
   * @param isInBf16 whether the candidate, which has no kernel for its codes, rounded them to bf16
   */
  record Weight(Pair pair, float[] values, int width, boolean isInBf16, InputScaling inputs) {
    Weight with(When when) {
      return new Weight(
          pair, values, width, isInBf16, new InputScaling(inputs.kind(), when, inputs.scale()));
    }
  }

  /**
   * Random values that span many octaves from row to row, so that a wrong scale shows.
   *
   * @param partRows rows of each matrix with scales of its own
   */
  static Weight weight(
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
  static Weight weight(
      TwoSides sides,
      WeightRole role,
      Shape shape,
      double scale,
      List<Integer> partRows,
      Recipe recipe,
      InputScaling inputs) {
    try (Arena arena = Arena.ofShared()) { // what is uploaded must outlive it
      HostTensor quantised =
          new WeightQuantizer(random(sides, shape, scale), partRows, recipe, inputs.when())
              .toTensor(arena);
      HostScales scales = Objects.requireNonNull(quantised.scales()).with(inputs);
      HostTensor codes =
          new HostTensor(quantised.name(), quantised.dtype(), shape, quantised.slabs(), scales);
      Pair pair = sides.upload(role, codes);
      float[] values = meaning(codes);
      boolean isInBf16 = pair.candidate().dtype() == DType.BF16;
      if (isInBf16) {
        TwoSides.roundToBf16(values);
        pair =
            new Pair(sides.oracle(role, HostTensor.of("rounded", shape, values)), pair.candidate());
      }
      return new Weight(pair, values, shape.intDim(shape.rank() - 1), isInBf16, inputs);
    }
  }

  private static HostTensor random(TwoSides sides, Shape shape, double scale) {
    float[] values = sides.gaussians(shape, scale);
    int width = shape.intDim(shape.rank() - 1);
    for (int i = 0; i < values.length; i++) {
      values[i] *= 1f / (1 << (i / width * 5 % 7));
    }
    return HostTensor.of("random", shape, values);
  }

  /** code * scale, in fp32. */
  private static float[] meaning(HostTensor weight) {
    HostScales scales = Objects.requireNonNull(weight.scales());
    int width = weight.shape().intDim(weight.shape().rank() - 1);
    int gridColumns = scales.scaling().gridColumns(width);
    int[] gridRows = scales.gridRowOfRow();
    float[] grid = scales.values();
    TensorReader reader = new TensorReader(weight);
    byte[] codes = new byte[width];
    float[] values = new float[gridRows.length * width];
    for (int row = 0; row < gridRows.length; row++) {
      reader.readCodes(row, 0, width, codes);
      for (int i = 0; i < width; i++) {
        int block = gridRows[row] * gridColumns + i / scales.scaling().blockColumns();
        values[row * width + i] = E4M3.decode(codes[i]) * grid[block];
      }
    }
    return values;
  }
}
