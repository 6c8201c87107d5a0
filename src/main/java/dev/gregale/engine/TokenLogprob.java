package dev.gregale.engine;

/**
 * A token with its log-probability and the likeliest alternatives at its place.
 *
 * @param tokenId the token
 * @param logprob natural logarithm, of the model's own distribution; NaN for the first token of a
 *     prompt, which nothing precedes, and where no log-probabilities were asked for
 * @param topTokenIds likeliest first; empty if none were asked for
 * @param topLogprobs of {@code topTokenIds}
 */
public record TokenLogprob(int tokenId, float logprob, int[] topTokenIds, float[] topLogprobs) {}
