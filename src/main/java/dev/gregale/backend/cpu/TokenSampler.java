package dev.gregale.backend.cpu;

import static dev.gregale.backend.cpu.CpuTensor.floats;
import static dev.gregale.backend.cpu.CpuTensor.ints;
import static dev.gregale.backend.cpu.CpuTensor.longs;

import dev.gregale.backend.SamplingInputs;
import dev.gregale.backend.SamplingOutputs;

/**
 * Draws one token from one row of logits, in Hugging Face's order: mask, penalties and biases,
 * temperature, top-k, top-p, min-p. Used by one thread at a time; its scratch grows to V once.
 */
final class TokenSampler {
  private final Distribution distribution = new Distribution();
  private final TopLogprobs topLogprobs = new TopLogprobs();

  /**
   * @param logits {@code [R, V]}; this row is destroyed
   */
  void sample(SamplingOutputs out, float[] logits, int vocabSize, SamplingInputs in, int row) {
    int start = row * vocabSize;
    int numLogprobs = ints(in.numLogprobs())[row];
    double logSumExp = 0;
    if (numLogprobs >= 0) {
      logSumExp = topLogprobs.logSumExp(logits, start, vocabSize);
      topLogprobs.write(out, logits, start, vocabSize, logSumExp, numLogprobs, row);
    }
    int token = ints(in.givenToken())[row];
    float rawLogit;
    if (token >= 0) {
      rawLogit = logits[start + token];
    } else {
      float[] raw = numLogprobs >= 0 ? topLogprobs.copy(logits, start, vocabSize) : logits;
      int rawStart = numLogprobs >= 0 ? 0 : start;
      mask(logits, start, vocabSize, in, row);
      adjust(logits, start, in, row);
      token = draw(logits, start, vocabSize, in, row);
      rawLogit = raw[rawStart + token];
    }
    ints(out.tokens())[row] = token;
    if (numLogprobs >= 0) {
      floats(out.logprobs())[row] = (float) (rawLogit - logSumExp);
    }
  }

  private int draw(float[] logits, int start, int vocabSize, SamplingInputs in, int row) {
    float temperature = floats(in.temperature())[row];
    if (temperature == 0) {
      return argMax(logits, start, vocabSize);
    }
    distribution.set(
        logits,
        start,
        vocabSize,
        temperature,
        ints(in.topK())[row],
        floats(in.topP())[row],
        floats(in.minP())[row]);
    return distribution.draw(uniform(longs(in.seed())[row], ints(in.position())[row]));
  }

  /** Negative infinity for what may not be drawn. */
  private static void mask(float[] logits, int start, int vocabSize, SamplingInputs in, int row) {
    int maskRow = ints(in.maskRow())[row];
    if (maskRow == SamplingInputs.NO_MASK) {
      return;
    }
    int[] allowed = ints(in.allowedTokens());
    int first = maskRow * in.allowedTokens().shape().intDim(1);
    for (int id = 0; id < vocabSize; id++) {
      if ((allowed[first + id / Integer.SIZE] >>> id % Integer.SIZE & 1) == 0) {
        logits[start + id] = Float.NEGATIVE_INFINITY;
      }
    }
  }

  /** Penalties and biases, only at the ids that have any. */
  static void adjust(float[] logits, int start, SamplingInputs in, int row) {
    float repetition = floats(in.repetitionPenalty())[row];
    float presence = floats(in.presencePenalty())[row];
    float frequency = floats(in.frequencyPenalty())[row];
    int[] offsets = ints(in.adjustOffsets());
    for (int i = offsets[row]; i < offsets[row + 1]; i++) {
      int index = start + ints(in.adjustTokens())[i];
      int count = ints(in.adjustCounts())[i];
      float logit = logits[index];
      if (count != SamplingInputs.ONLY_BIASED) {
        // CTRL (Keskar et al. 2019), as Hugging Face has it
        logit = logit > 0 ? logit / repetition : logit * repetition;
      }
      if (count > 0) {
        logit -= presence + frequency * count;
      }
      logits[index] = logit + floats(in.adjustBias())[i];
    }
  }

  /** The first of the largest. */
  static int argMax(float[] logits, int start, int vocabSize) {
    int best = 0;
    for (int i = 1; i < vocabSize; i++) {
      if (logits[start + i] > logits[start + best]) {
        best = i;
      }
    }
    return best;
  }

  /**
   * A uniform number in [0, 1) that depends on nothing but its arguments (two rounds of
   * SplitMix64's finaliser, Steele et al. 2014).
   */
  static double uniform(long seed, int position) {
    long bits = mix(mix(seed) + 0x9E3779B97F4A7C15L * (position + 1L));
    return (bits >>> 11) * 0x1p-53;
  }

  private static long mix(long z) {
    z = (z ^ (z >>> 30)) * 0xBF58476D1CE4E5B9L;
    z = (z ^ (z >>> 27)) * 0x94D049BB133111EBL;
    return z ^ (z >>> 31);
  }
}
