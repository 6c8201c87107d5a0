package dev.gregale.backend;

/**
 * The weights of a layer's attention. Legend: D hidden, H query heads, G KV heads, d head dim.
 *
 * @param norm {@code [D]}
 * @param qkv {@code [(H + 2G) d, D]}: query rows, then key rows, then value rows
 * @param output {@code [D, H d]}
 */
public record AttentionWeights(Tensor norm, Tensor qkv, Tensor output) {}
