package dev.gregale.model;

import dev.gregale.backend.Tensor;
import java.util.List;

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

  /** Bytes of all weights where each element takes that many; norms and angles are not counted. */
  public static long numBytes(MixtralConfig config, int bytesPerElement) {
    long hidden = config.hiddenSize();
    long perLayer =
        hidden
            * (config.dimensions().qkvWidth()
                + config.dimensions().queryWidth()
                + config.numLocalExperts() * (1 + 3L * config.intermediateSize()));
    long vocabulary = 2L * config.vocabSize() * hidden;
    return bytesPerElement * (config.numHiddenLayers() * perLayer + vocabulary);
  }

  public LayerWeights layer(int index) {
    return layers.get(index);
  }
}
