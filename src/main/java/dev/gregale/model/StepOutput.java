package dev.gregale.model;

/**
 * What one step brought back from the device. Allocated once at its capacity and overwritten by
 * each step; the batch says how many of the R rows are valid. The fields are public because they
 * are data; only the model writes them.
 */
public final class StepOutput {
  /** {@code [R]}: the drawn (or given) token of each row of logits. */
  public final int[] tokens;

  /** {@code [R]}: their log-probabilities, where the row asked for any. */
  public final float[] logprobs;

  /** {@code [R, topN]}: likeliest tokens, likeliest first; as many as the row asked for. */
  public final int[] topTokens;

  /** {@code [R, topN]}: their log-probabilities. */
  public final float[] topLogprobs;

  public final int topN;

  /** {@code [L, T, K]}, T the step's tokens: the experts that each token went to, best first. */
  public final int[] expertIds;

  /**
   * @param maxExpertIds L T K at most
   */
  public StepOutput(int maxLogitRows, int topN, int maxExpertIds) {
    this.topN = topN;
    expertIds = new int[maxExpertIds];
    tokens = new int[maxLogitRows];
    logprobs = new float[maxLogitRows];
    topTokens = new int[maxLogitRows * topN];
    topLogprobs = new float[maxLogitRows * topN];
  }
}
