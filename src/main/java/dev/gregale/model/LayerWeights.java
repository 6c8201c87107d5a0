package dev.gregale.model;

import dev.gregale.backend.Tensor;

/**
 * One decoder layer. Legend: D hidden, H query heads, G KV heads, d head dim, E experts, I
 * intermediate.
 *
 * @param inputNorm {@code [D]}
 * @param qkv {@code [(H + 2G) d, D]}: query rows, then key rows, then value rows
 * @param output {@code [D, H d]}
 * @param postAttentionNorm {@code [D]}
 * @param router {@code [E, D]}
 * @param gateUp {@code [E, 2I, D]}: per expert, gate rows and then up rows
 * @param down {@code [E, D, I]}
 */
public record LayerWeights(
    Tensor inputNorm,
    Tensor qkv,
    Tensor output,
    Tensor postAttentionNorm,
    Tensor router,
    Tensor gateUp,
    Tensor down) {}
