package dev.gregale.scheduler;

import static org.assertj.core.api.Assertions.assertThat;

import dev.gregale.sampling.SamplingParams;
import java.util.Arrays;
import java.util.Map;
import java.util.Set;
import java.util.TreeMap;
import org.junit.jupiter.api.Test;

/** What sampling is told of bias, bans and penalties. */
class SchedulerAdjustmentsTest extends SchedulerFixture {
  private static final float BANNED = Float.NEGATIVE_INFINITY;

  /** id to "count bias" of the adjustments of the batch's only row. */
  private Map<Integer, String> adjustments() {
    assertThat(batch.numLogitRows).isEqualTo(1);
    assertThat(batch.adjustOffsets[0]).isZero();
    assertThat(batch.adjustOffsets[1]).isEqualTo(batch.numAdjustments);
    Map<Integer, String> result = new TreeMap<>();
    for (int a = 0; a < batch.numAdjustments; a++) {
      String was =
          result.put(batch.adjustTokens[a], batch.adjustCounts[a] + " " + batch.adjustBias[a]);
      assertThat(was).as("id listed twice").isNull();
    }
    return result;
  }

  @Test
  void countsPromptAndOutputForPenalties() {
    add(3, params().repetitionPenalty(1.1f));
    step(11);
    assertThat(adjustments()).isEqualTo(Map.of(10, "-1 0.0", 11, "-1 0.0", 12, "-1 0.0"));
    step(11);
    step(20);
    scheduler.schedule(batch);
    assertThat(adjustments())
        .isEqualTo(Map.of(10, "-1 0.0", 11, "2 0.0", 12, "-1 0.0", 20, "1 0.0"));
  }

  @Test
  void presenceAndFrequencyLookAtTheOutputOnly() {
    add(3, params().frequencyPenalty(1));
    step(11);
    assertThat(adjustments()).isEmpty();
    scheduler.schedule(batch);
    assertThat(adjustments()).isEqualTo(Map.of(11, "1 0.0"));
  }

  @Test
  void listsEachIdOnceForBiasBansAndCounts() {
    add(
        3,
        params()
            .presencePenalty(1)
            .minTokens(2)
            .stopTokenIds(Set.of(9))
            .logitBias(Map.of(9, 3f, 11, -1f, 30, 0f)));
    step(11);
    assertThat(adjustments())
        .isEqualTo(Map.of(2, "-2 " + BANNED, 9, "-2 " + BANNED, 11, "-2 -1.0"));
    step(5);
    assertThat(adjustments()).isEqualTo(Map.of(2, "-2 " + BANNED, 9, "-2 " + BANNED, 11, "1 -1.0"));
    step(5);
    assertThat(adjustments()).isEqualTo(Map.of(5, "1 0.0", 9, "-2 3.0", 11, "1 -1.0"));
  }

  @Test
  void adjustmentsGrowAsFarAsTheyMust() {
    use(new SchedulerConfig(1, 6_000, 6_000, 4, 1_500, 1, 8, true));
    int[] prompt = new int[5_000];
    Arrays.setAll(prompt, i -> 3 * i);
    SamplingParams params = params().repetitionPenalty(2).build();
    scheduler.add(new Sequence(prompt, params, 7, EOS, 6_000, null));
    step(3);
    assertThat(adjustments()).hasSize(5_000);
    step(4);
    assertThat(adjustments()).hasSize(5_000).containsEntry(3, "1 0.0");
    scheduler.schedule(batch);
    assertThat(adjustments()).hasSize(5_001);
  }
}
