package dev.gregale.backend.cpu;

import java.util.Arrays;

/**
 * The probabilities of one row after temperature, top-k, top-p and min-p, as Hugging Face's warpers
 * define them. Reused from row to row; its scratch grows to V once.
 */
final class Distribution {
  private double[] probabilities = new double[0];
  private double[] sorted = new double[0];
  private int size;

  /**
   * @param topK 0 keeps all
   */
  void set(
      float[] logits,
      int start,
      int vocabSize,
      float temperature,
      int topK,
      float topP,
      float minP) {
    size = vocabSize;
    if (probabilities.length < vocabSize) {
      probabilities = new double[vocabSize];
      sorted = new double[vocabSize];
    }
    double max = Double.NEGATIVE_INFINITY;
    for (int i = 0; i < vocabSize; i++) {
      // Rounded to fp32 as the reference's tensors are, so that ties at a cut-off are the same
      // ties.
      probabilities[i] = logits[start + i] / temperature;
      max = Math.max(max, probabilities[i]);
    }
    double threshold = topK > 0 && topK < vocabSize ? kthLargest(topK) : Double.NEGATIVE_INFINITY;
    double sum = 0;
    for (int i = 0; i < vocabSize; i++) {
      double p = probabilities[i] < threshold ? 0 : Math.exp(probabilities[i] - max);
      probabilities[i] = p;
      sum += p;
    }
    if (topP < 1) {
      keepNucleus(topP, sum);
    }
    if (minP > 0) {
      dropBelow(minP); // the likeliest token has exp(0) = 1 here
    }
  }

  private double kthLargest(int k) {
    System.arraycopy(probabilities, 0, sorted, 0, size);
    Arrays.sort(sorted, 0, size);
    return sorted[size - k];
  }

  /** Keeps the fewest likeliest tokens whose share reaches topP; ties at the border stay. */
  private void keepNucleus(float topP, double sum) {
    // Tokens below this cannot matter: all of them together are less than the tail that is cut.
    double negligible = (1 - topP) * sum / size;
    int count = 0;
    for (int i = 0; i < size; i++) {
      if (probabilities[i] >= negligible && probabilities[i] > 0) {
        sorted[count++] = probabilities[i];
      }
    }
    Arrays.sort(sorted, 0, count);
    double reached = 0;
    int i = count - 1;
    while (i > 0) {
      reached += sorted[i];
      if (reached >= topP * sum) {
        break;
      }
      i--;
    }
    dropBelow(sorted[i]);
  }

  private void dropBelow(double limit) {
    for (int i = 0; i < size; i++) {
      if (probabilities[i] < limit) {
        probabilities[i] = 0;
      }
    }
  }

  /** The token at which the cumulated probability first exceeds {@code uniform}, in id order. */
  int draw(double uniform) {
    double target = uniform * sum();
    double reached = 0;
    int last = 0;
    for (int i = 0; i < size; i++) {
      if (probabilities[i] > 0) {
        reached += probabilities[i];
        last = i;
        if (reached > target) {
          return i;
        }
      }
    }
    return last;
  }

  /** Normalised, zero where cut: {@code [V]}. */
  double[] normalised() {
    double sum = sum();
    return Arrays.stream(probabilities, 0, size).map(p -> p / sum).toArray();
  }

  private double sum() {
    double sum = 0;
    for (int i = 0; i < size; i++) {
      sum += probabilities[i];
    }
    return sum;
  }
}
