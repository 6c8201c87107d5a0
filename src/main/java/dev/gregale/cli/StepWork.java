package dev.gregale.cli;

import dev.gregale.backend.AttentionShape;
import dev.gregale.model.MixtralConfig;
import dev.gregale.tensor.Shape;
import java.util.LinkedHashMap;
import java.util.Map;

/**
 * What a step has to read or multiply at least, op by op under the names of {@link OpTimes}: the
 * figures that measured times are held against.
 *
 * @param config of the model
 * @param elementBytes of weights that are never quantised
 * @param projectionBytes of an element of the projections of attention and experts, scales included
 * @param kvBytes of an element of keys and values, likewise
 */
record StepWork(MixtralConfig config, int elementBytes, double projectionBytes, double kvBytes) {

  /**
   * Bytes that a decode step reads: weights, keys and values, not activations. Of the experts those
   * that so many tokens meet if each picks K of E at random.
   *
   * @param contextTokens of every sequence
   */
  Map<String, Double> decodeBytes(int sequences, double contextTokens) {
    AttentionShape attention = config.attentionShape();
    double d = config.hiddenSize();
    double qWidth = (double) config.numAttentionHeads() * config.headDim();
    double kv = 2.0 * attention.numKvHeads() * attention.headDim() * contextTokens * sequences;
    double expertShare = (double) config.numExpertsPerTok() / config.numLocalExperts();
    double experts = config.numLocalExperts() * (1 - Math.pow(1 - expertShare, sequences));
    double layers = config.numHiddenLayers();
    Map<String, Double> bytes = new LinkedHashMap<>();
    bytes.put(
        "attentionBlock",
        layers * (projectionBytes * (d * attention.qkvWidth() + qWidth * d) + kvBytes * kv));
    bytes.put(
        "expertBlock",
        layers
            * (elementBytes * d * config.numLocalExperts()
                + projectionBytes * experts * 3 * d * config.intermediateSize()));
    bytes.put("computeLogits", elementBytes * d * config.vocabSize());
    return bytes;
  }

  /**
   * FLOPs of a prompt's prefill: products of all its tokens, causal attention, one row of logits.
   */
  Map<String, Double> prefillFlops(double tokens) {
    int d = config.hiddenSize();
    int qkvWidth = config.attentionShape().qkvWidth();
    int qWidth = config.numAttentionHeads() * config.headDim();
    double layers = config.numHiddenLayers();
    Map<String, Double> flops = new LinkedHashMap<>();
    addMatmul(flops, layers * tokens, qkvWidth, d);
    addMatmul(flops, layers * tokens, d, qWidth);
    addMatmul(flops, layers * tokens, config.numLocalExperts(), d);
    addMatmul(flops, 1, config.vocabSize(), d);
    flops.put("pagedAttention", layers * 2 * tokens * tokens * qWidth);
    flops.put(
        "expertFeedForward",
        layers * tokens * config.numExpertsPerTok() * 6.0 * d * config.intermediateSize());
    return flops;
  }

  private static void addMatmul(Map<String, Double> flops, double rows, int n, int k) {
    flops.merge("matmul " + Shape.of(n, k), 2 * rows * n * k, Double::sum);
  }

  static double total(Map<String, Double> work) {
    return work.values().stream().mapToDouble(Double::doubleValue).sum();
  }
}
