package dev.gregale.convert;

import java.util.List;

/**
 * How far two models are apart, over all logits of some prompts.
 *
 * @param prompts number of them
 * @param tokens of all prompts
 * @param identical whether all logits have the same bits
 * @param maxAbsDifference of two logits
 * @param meanAbsDifference of two logits
 * @param sameArgmax share of the positions at which both find the same token likeliest
 * @param sourceLoss mean negative log-likelihood of the prompts' tokens, in nats
 * @param convertedLoss the same of the converted model
 */
public record LogitsDifference(
    int prompts,
    int tokens,
    boolean identical,
    double maxAbsDifference,
    double meanAbsDifference,
    double sameArgmax,
    double sourceLoss,
    double convertedLoss) {

  /**
   * Compares logits.
   *
   * @param prompts token ids
   * @param source of each prompt {@code [T, V]}
   * @param converted of each prompt {@code [T, V]}
   */
  public static LogitsDifference of(
      List<int[]> prompts, List<float[]> source, List<float[]> converted) {
    boolean identical = true;
    double max = 0;
    double sum = 0;
    long count = 0;
    int tokens = 0;
    int sameArgmax = 0;
    for (int p = 0; p < prompts.size(); p++) {
      float[] a = source.get(p);
      float[] b = converted.get(p);
      int length = prompts.get(p).length;
      int vocabSize = a.length / length;
      for (int i = 0; i < a.length; i++) {
        identical &= Float.floatToRawIntBits(a[i]) == Float.floatToRawIntBits(b[i]);
        double difference = Math.abs((double) a[i] - b[i]);
        max = Math.max(max, difference);
        sum += difference;
      }
      for (int t = 0; t < length; t++) {
        sameArgmax += argmax(a, t, vocabSize) == argmax(b, t, vocabSize) ? 1 : 0;
      }
      count += a.length;
      tokens += length;
    }
    return new LogitsDifference(
        prompts.size(),
        tokens,
        identical,
        max,
        sum / count,
        (double) sameArgmax / tokens,
        loss(prompts, source),
        loss(prompts, converted));
  }

  private static int argmax(float[] logits, int row, int vocabSize) {
    int best = row * vocabSize;
    for (int i = best + 1; i < (row + 1) * vocabSize; i++) {
      best = logits[i] > logits[best] ? i : best;
    }
    return best;
  }

  private static double loss(List<int[]> prompts, List<float[]> logits) {
    double sum = 0;
    int count = 0;
    for (int p = 0; p < prompts.size(); p++) {
      int[] ids = prompts.get(p);
      int vocabSize = logits.get(p).length / ids.length;
      for (int t = 0; t + 1 < ids.length; t++) {
        sum += negativeLogLikelihood(logits.get(p), t, vocabSize, ids[t + 1]);
        count++;
      }
    }
    return sum / count;
  }

  private static double negativeLogLikelihood(float[] logits, int row, int vocabSize, int id) {
    int from = row * vocabSize;
    double max = logits[argmax(logits, row, vocabSize)];
    double sum = 0;
    for (int i = from; i < from + vocabSize; i++) {
      sum += Math.exp(logits[i] - max);
    }
    return Math.log(sum) + max - logits[from + id];
  }
}
