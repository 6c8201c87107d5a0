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
public record TokenLogprob(int tokenId, float logprob, int[] topTokenIds, float[] topLogprobs) {
  private static final int[] NO_TOKENS = {};
  private static final float[] NO_LOGPROBS = {};

  /** A token without any log-probability. */
  public static TokenLogprob unscored(int tokenId) {
    return new TokenLogprob(tokenId, Float.NaN, NO_TOKENS, NO_LOGPROBS);
  }
}
