package dev.gregale.backend.cpu;

import static dev.gregale.backend.cpu.VectorMath.FLOATS;
import static dev.gregale.backend.cpu.VectorMath.LANES;

import java.util.Arrays;
import jdk.incubator.vector.FloatVector;
import jdk.incubator.vector.VectorOperators;

/** Softmax of a row of scores, summed in {@value #STRANDS} strands whatever the vector width. */
final class Softmax {
  private static final int STRANDS = VectorKvLayer.POSITIONS;

  private Softmax() {}

  /**
   * Replaces the scores of places [from, to) by the softmax of {@code scale} times them. Negative
   * infinities, and the places around out to whole strands, become 0; one more strand behind them
   * is used as scratch.
   *
   * @param at where place 0 lies in {@code scores}
   */
  static void softmax(float[] scores, int at, int from, int to, float scale) {
    int begin = at + from / STRANDS * STRANDS;
    int end = at + (to + STRANDS - 1) / STRANDS * STRANDS;
    Arrays.fill(scores, begin, at + from, Float.NEGATIVE_INFINITY);
    Arrays.fill(scores, at + to, end, Float.NEGATIVE_INFINITY);
    float norm = 1 / exponentials(scores, begin, end, largest(scores, begin, end), scale);
    for (int i = begin; i < end; i += LANES) {
      FloatVector.fromArray(FLOATS, scores, i).mul(norm).intoArray(scores, i);
    }
  }

  /** Replaces scores by exp(scale * (score - largest)) and returns their sum. */
  private static float exponentials(
      float[] scores, int begin, int end, float largest, float scale) {
    for (int j = 0; j < STRANDS; j += LANES) {
      FloatVector sum = FloatVector.zero(FLOATS);
      for (int i = begin + j; i < end; i += STRANDS) {
        FloatVector score = FloatVector.fromArray(FLOATS, scores, i);
        FloatVector e = VectorMath.exp(score.sub(largest).mul(scale));
        e = e.blend(0f, score.compare(VectorOperators.EQ, Float.NEGATIVE_INFINITY));
        e.intoArray(scores, i);
        sum = sum.add(e);
      }
      sum.intoArray(scores, end + j);
    }
    for (int half = STRANDS / 2; half > 0; half /= 2) {
      for (int j = end; j < end + half; j++) {
        scores[j] += scores[j + half];
      }
    }
    return scores[end];
  }

  /** In two strands, because each comparison waits for the last one of its strand. */
  private static float largest(float[] scores, int begin, int end) {
    FloatVector even = FloatVector.fromArray(FLOATS, scores, begin);
    FloatVector odd = even;
    int last = end - LANES;
    for (int i = begin; i < end; i += 2 * LANES) {
      FloatVector score = FloatVector.fromArray(FLOATS, scores, i);
      even = even.blend(score, even.lt(score));
      score = FloatVector.fromArray(FLOATS, scores, Math.min(i + LANES, last));
      odd = odd.blend(score, odd.lt(score));
    }
    return even.max(odd).reduceLanes(VectorOperators.MAX);
  }
}
