package dev.gregale.backend;

/**
 * The weights of a layer's mixture of experts, or a device's share of them: then the router is that
 * of all experts, the others are of consecutive ones. Legend: D hidden, E experts, I intermediate.
 *
 * @param norm {@code [D]}
 * @param router {@code [E, D]}
 * @param gateUp {@code [E, 2I, D]}: per expert, gate rows and then up rows
 * @param down {@code [E, D, I]}
 * @param firstExpert of those that gateUp and down are of
 */
public record ExpertWeights(
    Tensor norm, Tensor router, Tensor gateUp, Tensor down, int firstExpert) {

  /** Experts whose weights are here. */
  int numExperts() {
    return down.shape().intDim(0);
  }

  boolean hasAllExperts() {
    return numExperts() == router.shape().intDim(0);
  }
}
