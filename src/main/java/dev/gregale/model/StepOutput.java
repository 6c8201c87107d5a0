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

  public StepOutput(int maxLogitRows, int topN) {
    this.topN = topN;
    tokens = new int[maxLogitRows];
    logprobs = new float[maxLogitRows];
    topTokens = new int[maxLogitRows * topN];
    topLogprobs = new float[maxLogitRows * topN];
  }
}
