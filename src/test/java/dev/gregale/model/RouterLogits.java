package dev.gregale.model;

import java.util.Arrays;

/**
 * How near to each other the experts of a choice are, in router logits {@code [T, E]}.
 *
 * <p>Legend: T tokens, E experts, K experts per token.
 */
final class RouterLogits {

  private RouterLogits() {}

  /** The least distance between neighbours among a token's K + 1 largest logits. */
  static double gap(float[] logits, int token, MixtralConfig config) {
    int e = config.numLocalExperts();
    float[] sorted = Arrays.copyOfRange(logits, token * e, (token + 1) * e);
    Arrays.sort(sorted);
    double gap = Double.POSITIVE_INFINITY;
    for (int i = e - 1; i > 0 && i >= e - config.numExpertsPerTok(); i--) {
      gap = Math.min(gap, sorted[i] - sorted[i - 1]);
    }
    return gap;
  }

  /**
   * By how much a token's best expert that was not chosen is ahead of its worst that was: 0 or less
   * for the K best; infinite where what was chosen is not K different experts.
   *
   * @param chosen {@code [K]}
   */
  static double deficit(float[] logits, int token, MixtralConfig config, int[] chosen) {
    int e = config.numLocalExperts();
    boolean[] isChosen = new boolean[e];
    double worst = Double.POSITIVE_INFINITY;
    for (int expert : chosen) {
      if (expert < 0 || expert >= e || isChosen[expert]) {
        return Double.POSITIVE_INFINITY;
      }
      isChosen[expert] = true;
      worst = Math.min(worst, logits[token * e + expert]);
    }
    double best = Double.NEGATIVE_INFINITY;
    for (int expert = 0; expert < e; expert++) {
      best = isChosen[expert] ? best : Math.max(best, logits[token * e + expert]);
    }
    return best - worst;
  }
}
