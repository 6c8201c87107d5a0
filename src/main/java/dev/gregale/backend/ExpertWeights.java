package dev.gregale.backend;

/**
 * The weights of a layer's mixture of experts. Legend: D hidden, E experts, I intermediate.
 *
 * @param norm {@code [D]}
 * @param router {@code [E, D]}
 * @param gateUp {@code [E, 2I, D]}: per expert, gate rows and then up rows
 * @param down {@code [E, D, I]}
 */
public record ExpertWeights(Tensor norm, Tensor router, Tensor gateUp, Tensor down) {}
