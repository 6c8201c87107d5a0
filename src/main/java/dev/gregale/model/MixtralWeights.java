package dev.gregale.model;

import dev.gregale.backend.ModelBytes;
import dev.gregale.backend.Tensor;
import dev.gregale.checkpoint.ModelDimensions;
import dev.gregale.tensor.WeightScaling;
import java.util.List;
import java.util.function.IntFunction;
import org.jspecify.annotations.Nullable;

/**
 * All weights, on the backend.
 *
 * @param embedding {@code [V, D]}
 * @param layers in order
 * @param norm final norm {@code [D]}
 * @param lmHead {@code [V, D]}; the embedding again where the two are tied
 * @param ropeTable {@code [maxModelLen, d]}
 */
public record MixtralWeights(
    Tensor embedding, List<LayerWeights> layers, Tensor norm, Tensor lmHead, Tensor ropeTable) {

  public MixtralWeights {
    layers = List.copyOf(layers);
  }

  /**
   * Bytes of all weights, norms and angles not counted.
   *
   * @param bytesPerElement of what is not quantised
   * @param scaling of each layer's projections; null: not quantised
   */
  static ModelBytes numBytes(
      MixtralConfig config, int bytesPerElement, IntFunction<@Nullable WeightScaling> scaling) {
    long hidden = config.hiddenSize();
    long inner = config.intermediateSize();
    ModelDimensions dims = config.dimensions();
    long vocabularies = 2L * config.vocabSize() * hidden * bytesPerElement;
    long layers = 0;
    for (int i = 0; i < config.numHiddenLayers(); i++) {
      WeightScaling quantised = scaling.apply(i);
      long expert =
          2 * matrix(inner, hidden, bytesPerElement, quantised)
              + matrix(hidden, inner, bytesPerElement, quantised)
              + hidden * bytesPerElement; // its row of the router
      layers +=
          matrix(dims.qkvWidth(), hidden, bytesPerElement, quantised)
              + matrix(hidden, dims.queryWidth(), bytesPerElement, quantised)
              + config.numLocalExperts() * expert;
    }
    return new ModelBytes(layers, vocabularies);
  }

  private static long matrix(
      long rows, long columns, int bytesPerElement, @Nullable WeightScaling scaling) {
    if (scaling == null) {
      return rows * columns * bytesPerElement;
    }
    long blocks = (long) scaling.gridRows(rows) * scaling.gridColumns(columns);
    return rows * columns + blocks * scaling.dtype().bytes();
  }

  public LayerWeights layer(int index) {
    return layers.get(index);
  }
}
