package dev.gregale.backend;

/**
 * What sampling found, one row per row of logits. Log-probabilities are of the model's own
 * distribution: the log-softmax of the logits before any mask, penalty or temperature.
 *
 * @param tokens int32 {@code [R]}, the drawn (or given) ids
 * @param logprobs fp32 {@code [R]}, of those ids, where numLogprobs is not -1
 * @param topTokens int32 {@code [R, N]}, the N likeliest ids, likeliest first, ties to the lower
 * @param topLogprobs fp32 {@code [R, N]}
 */
public record SamplingOutputs(
    Tensor tokens, Tensor logprobs, Tensor topTokens, Tensor topLogprobs) {}
