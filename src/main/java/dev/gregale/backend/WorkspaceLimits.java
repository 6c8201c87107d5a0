package dev.gregale.backend;

/**
 * The largest batch that ops will be asked for: what a backend sizes its scratch memory by.
 *
 * @param tokens T, new tokens of one batch
 * @param seqs S, sequences of one batch
 * @param contextLen tokens of one sequence
 * @param attention heads and head dim
 * @param numExperts E
 * @param expertsPerToken K
 * @param hidden D
 * @param intermediate I
 */
public record WorkspaceLimits(
    int tokens,
    int seqs,
    int contextLen,
    AttentionShape attention,
    int numExperts,
    int expertsPerToken,
    int hidden,
    int intermediate) {}
