package dev.gregale.backend;

/**
 * Inputs of products whose quantised value a fixed scale has cut off. Scales that are found for the
 * inputs themselves cut nothing off.
 *
 * @param attention of the projections of attention
 * @param experts of gate and up, and of down, once for each expert that a token goes to
 */
public record SaturatedInputs(long attention, long experts) {}
