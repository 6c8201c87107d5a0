package dev.gregale.backend.cpu;

import static dev.gregale.backend.cpu.CpuTensor.floats;
import static dev.gregale.backend.cpu.CpuTensor.ints;

import dev.gregale.backend.SamplingOutputs;

/** Log-softmax of a row, and its likeliest tokens. Used by one thread at a time. */
final class TopLogprobs {
  private float[] copy = new float[0];

  /** A copy of a row that is about to be changed; valid until the next call. */
  float[] copy(float[] logits, int start, int vocabSize) {
    if (copy.length < vocabSize) {
      copy = new float[vocabSize];
    }
    System.arraycopy(logits, start, copy, 0, vocabSize);
    return copy;
  }

  double logSumExp(float[] logits, int start, int vocabSize) {
    float max = logits[start + TokenSampler.argMax(logits, start, vocabSize)];
    double sum = 0;
    for (int i = 0; i < vocabSize; i++) {
      sum += Math.exp((double) logits[start + i] - max);
    }
    return max + Math.log(sum);
  }

  /** Fills the row's {@code count} likeliest by insertion: few of V ever enter the list. */
  void write(
      SamplingOutputs out,
      float[] logits,
      int start,
      int vocabSize,
      double logSumExp,
      int count,
      int row) {
    int[] tokens = ints(out.topTokens());
    float[] values = floats(out.topLogprobs());
    int base = row * out.topTokens().shape().intDim(1);
    int filled = 0;
    for (int token = 0; token < vocabSize; token++) {
      float logprob = (float) (logits[start + token] - logSumExp);
      if (filled == count && (count == 0 || !(logprob > values[base + count - 1]))) {
        continue;
      }
      int place = filled < count ? filled++ : count - 1;
      while (place > 0 && logprob > values[base + place - 1]) {
        values[base + place] = values[base + place - 1];
        tokens[base + place] = tokens[base + place - 1];
        place--;
      }
      values[base + place] = logprob;
      tokens[base + place] = token;
    }
  }
}
