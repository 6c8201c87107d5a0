package dev.gregale.model;

/**
 * What one step sampled, per row of logits; reused from step to step. Legend: R rows, N likeliest
 * tokens kept per row.
 */
public final class StepOutput {
  /** {@code [R]}, drawn or given ids. */
  public final int[] tokens;

  /** {@code [R]}, natural logarithm, where asked for. */
  public final float[] logprobs;

  /** {@code [R, N]}, likeliest first, where asked for. */
  public final int[] topTokens;

  /** {@code [R, N]}. */
  public final float[] topLogprobs;

  /** N. */
  public final int topN;

  public StepOutput(int maxLogitRows, int topN) {
    this.tokens = new int[maxLogitRows];
    this.logprobs = new float[maxLogitRows];
    this.topTokens = new int[maxLogitRows * topN];
    this.topLogprobs = new float[maxLogitRows * topN];
    this.topN = topN;
  }
}
