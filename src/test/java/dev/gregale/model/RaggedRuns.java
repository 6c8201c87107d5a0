package dev.gregale.model;

import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.SplittableRandom;

/** Random batches, always the same: prefills, and after each two decode steps. */
final class RaggedRuns {

  private RaggedRuns() {}

  /**
   * @param maxTokens of a prefill, about
   * @param seqCounts sequences of each batch
   * @return logits {@code [T, V]} of each batch
   */
  static List<float[]> logits(ForwardFixture forward, int maxTokens, int... seqCounts) {
    int vocabSize = forward.config.vocabSize();
    List<float[]> logits = new ArrayList<>();
    for (int seqs : seqCounts) {
      SplittableRandom random = new SplittableRandom(seqs);
      int[] lengths = random.ints(seqs, 1, 2 + Math.min(200, maxTokens / seqs)).toArray();
      logits.add(forward.logits(tokens(random, lengths, vocabSize)));
      int[] ones = new int[seqs];
      Arrays.fill(ones, 1);
      for (int step = 0; step < 2; step++) {
        logits.add(forward.logits(tokens(random, ones, vocabSize), lengths));
        Arrays.setAll(lengths, s -> lengths[s] + 1);
      }
    }
    return logits;
  }

  static List<int[]> tokens(SplittableRandom random, int[] lengths, int vocabSize) {
    return Arrays.stream(lengths).mapToObj(n -> random.ints(n, 0, vocabSize).toArray()).toList();
  }
}
