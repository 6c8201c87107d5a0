package dev.gregale.scheduler;

import static org.assertj.core.api.Assertions.assertThat;

import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import org.jspecify.annotations.Nullable;

/** What the test knows of a sequence beside the scheduler. */
final class ExpectedSequence {
  final int[] prompt;
  final long seed;
  final long mustEndBy;
  final @Nullable String salt;
  final List<Float> promptLogprobs = new ArrayList<>();
  int computedAtMost;
  int blocks;
  boolean preempted;

  ExpectedSequence(int[] prompt, long seed, long mustEndBy, @Nullable String salt) {
    this.prompt = prompt;
    this.seed = seed;
    this.mustEndBy = mustEndBy;
    this.salt = salt;
  }

  /**
   * The output is what the sequence would have got alone, and stops where it must.
   *
   * @return prompt and output
   */
  int[] checkOutput(Sequence sequence, SchedulerConfig config) {
    int length = sequence.numOutputTokens();
    int[] context = Arrays.copyOf(prompt, prompt.length + length);
    boolean stopped = false;
    for (int i = 0; i < length; i++) {
      int n = prompt.length + i;
      context[n] = FakePagedModel.next(context, n, seed, RandomTraffic.VOCAB);
      assertThat(sequence.token(n)).isEqualTo(context[n]);
      assertThat(stopped).as("went on after a stop token").isFalse();
      stopped = context[n] == RandomTraffic.EOS[0] && !sequence.params().ignoreEos();
    }
    boolean full =
        length == sequence.params().maxTokens() || context.length == config.maxModelLen();
    switch (sequence.finishReason()) {
      case STOP -> assertThat(stopped).isTrue();
      case LENGTH -> assertThat(full && !stopped).isTrue();
      case ABORT -> assertThat(full && length > 0 || stopped).isFalse();
      case null -> throw new AssertionError("ended without a reason");
    }
    return context;
  }
}
