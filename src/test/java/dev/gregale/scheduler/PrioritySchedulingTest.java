package dev.gregale.scheduler;

import static org.assertj.core.api.Assertions.assertThat;

import dev.gregale.sampling.FinishReason;
import dev.gregale.sampling.SamplingParams;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import org.junit.jupiter.api.Test;

/**
 * Who goes first where sequences have priorities; in any traffic: {@link SchedulerPropertyTest}.
 */
class PrioritySchedulingTest {
  private static final int MAX_MODEL_LEN = 32;

  private SchedulerConfig config = config(1, 16);
  private Scheduler scheduler = new Scheduler(config);
  private ScheduledBatch batch = config.newBatch();

  private static SchedulerConfig config(int seqs, int blocks) {
    return new SchedulerConfig(seqs, 16, MAX_MODEL_LEN, 4, blocks, 16, 8, true);
  }

  private void use(SchedulerConfig other) {
    config = other;
    scheduler = new Scheduler(config);
    batch = config.newBatch();
  }

  private Sequence add(int promptLength, int maxTokens, int priority) {
    SamplingParams params = SamplingParams.builder().maxTokens(maxTokens).ignoreEos(true).build();
    int[] prompt = new int[promptLength];
    Arrays.fill(prompt, 10 + priority);
    Sequence sequence = new Sequence(prompt, params, 7, new int[0], MAX_MODEL_LEN, null);
    scheduler.add(sequence, priority);
    return sequence;
  }

  private void step() {
    scheduler.schedule(batch);
    scheduler.update(batch, new int[config.maxLogitRows()]);
  }

  @Test
  void theLowestGoesFirstAndTiesGoByArrival() {
    Sequence running = add(3, 2, 5);
    step();
    List<Sequence> sequences =
        List.of(
            running,
            add(3, 1, 3),
            add(3, 1, Integer.MAX_VALUE),
            add(3, 1, -1),
            add(3, 1, 3),
            add(3, 1, Integer.MIN_VALUE));
    List<Integer> ended = new ArrayList<>();
    while (scheduler.hasWork()) {
      step();
      for (int i = 0; i < sequences.size(); i++) {
        if (sequences.get(i).finishReason() == FinishReason.LENGTH && !ended.contains(i)) {
          ended.add(i);
        }
      }
    }
    assertThat(ended).containsExactly(0, 5, 3, 1, 4, 2); // who runs is not sent away for it
  }

  @Test
  void whoRunsWithTheHighestIsPreemptedThoughItCameFirst() {
    use(config(2, 8));
    Sequence patient = add(15, 10, 1);
    step();
    Sequence urgent = add(14, 10, 0);
    step();
    step(); // 17 and 15 tokens known, hence 5 blocks of computing and 4
    assertThat(patient.status()).isEqualTo(Sequence.Status.WAITING);
    assertThat(batch.sequences).containsExactly(urgent);
    while (urgent.finishReason() == null) {
      step();
    }
    while (scheduler.hasWork()) {
      step();
    }
    assertThat(patient.numOutputTokens()).isEqualTo(10);
  }

  @Test
  void nobodyOvertakesWhoGoesFirstAndFindsNoRoom() {
    use(config(4, 8));
    add(20, 5, 0);
    step();
    Sequence small = add(1, 1, 0);
    Sequence large = add(16, 1, -1);
    step();
    assertThat(large.status()).isEqualTo(Sequence.Status.WAITING);
    assertThat(small.status()).isEqualTo(Sequence.Status.WAITING);
  }

  @Test
  void whoWaitsCanBeAborted() {
    add(3, 1, 0);
    Sequence second = add(3, 1, 2);
    Sequence third = add(3, 1, 2);
    scheduler.abort(second);
    assertThat(scheduler.numWaiting()).isEqualTo(2);
    step();
    step();
    assertThat(batch.sequences).containsExactly(third);
    assertThat(scheduler.hasWork()).isFalse();
  }
}
