package dev.gregale.backend.cpu;

/** Chooses each token's experts: few numbers per row, so plain loops on the calling thread. */
final class RouterKernel {
  private boolean[] taken = {}; // [E]

  /** See {@link dev.gregale.backend.Kernels#routeTopK}. */
  void route(
      int[] expertIds, float[] expertWeights, int k, float[] logits, int numExperts, int rows) {
    if (taken.length < numExperts) {
      taken = new boolean[numExperts];
    }
    for (int row = 0; row < rows; row++) {
      int from = row * numExperts;
      int to = row * k;
      for (int choice = 0; choice < k; choice++) {
        int best = best(logits, from, numExperts);
        taken[best] = true;
        expertIds[to + choice] = best;
      }
      for (int choice = 0; choice < k; choice++) {
        taken[expertIds[to + choice]] = false;
      }
      weigh(expertIds, expertWeights, to, k, logits, from);
    }
  }

  private int best(float[] logits, int from, int numExperts) {
    int best = -1;
    for (int e = 0; e < numExperts; e++) {
      if (!taken[e] && (best < 0 || logits[from + e] > logits[from + best])) {
        best = e;
      }
    }
    return best;
  }

  /** The softmax's sum over all experts cancels when the chosen ones are renormalised. */
  private static void weigh(
      int[] expertIds, float[] expertWeights, int to, int k, float[] logits, int from) {
    float largest = logits[from + expertIds[to]];
    float sum = 0;
    for (int i = to; i < to + k; i++) {
      expertWeights[i] = VectorMath.exp(logits[from + expertIds[i]] - largest);
      sum += expertWeights[i];
    }
    for (int i = to; i < to + k; i++) {
      expertWeights[i] /= sum;
    }
  }
}
