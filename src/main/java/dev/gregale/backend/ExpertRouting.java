package dev.gregale.backend;

/**
 * Which experts each token goes to.
 *
 * @param expertIds int32 {@code [T, K]}, best first
 * @param expertWeights fp32 {@code [T, K]}, summing to 1 in each row
 */
public record ExpertRouting(Tensor expertIds, Tensor expertWeights) {}
