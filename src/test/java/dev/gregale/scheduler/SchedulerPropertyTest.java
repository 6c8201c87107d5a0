package dev.gregale.scheduler;

import static org.assertj.core.api.Assertions.assertThat;

import dev.gregale.sampling.FinishReason;
import java.util.HashSet;
import java.util.Set;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/** What must hold of the scheduler whatever arrives: random traffic over tiny block pools. */
class SchedulerPropertyTest {
  @ParameterizedTest(name = "seed {0}")
  @ValueSource(longs = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20})
  void invariantsHoldUnderRandomTraffic(long seed) {
    new RandomTraffic(seed, false, false).run(2_000);
  }

  @ParameterizedTest(name = "seed {0}")
  @ValueSource(longs = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20})
  void invariantsHoldWhenScheduledAhead(long seed) {
    new RandomTraffic(seed, true, false).run(2_000);
  }

  @ParameterizedTest(name = "seed {0}")
  @ValueSource(longs = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10})
  void invariantsHoldWithPriorities(long seed) {
    RandomTraffic traffic = new RandomTraffic(seed, seed % 2 == 0, true);
    traffic.run(2_000);
    assertThat(traffic.checks.overtaken).as("seed %d", seed).isPositive();
  }

  @ParameterizedTest
  @ValueSource(booleans = {false, true})
  void theTrafficPreemptsScoresAbortsAndFinishesInEveryWay(boolean ahead) {
    Set<FinishReason> reasons = new HashSet<>();
    long preemptions = 0;
    int scored = 0;
    int scheduledAhead = 0;
    int preemptedWhileDrawing = 0;
    int waitedForHistory = 0;
    long hitTokens = 0;
    int sharedBlocks = 0;
    int hitsAfterPreemption = 0;
    for (long seed = 1; seed <= 20; seed++) {
      RandomTraffic traffic = new RandomTraffic(seed, ahead, false);
      traffic.run(2_000);
      reasons.addAll(traffic.reasons);
      preemptions += traffic.scheduler.numPreemptions();
      scored += traffic.scoredAfterPreemption;
      scheduledAhead += traffic.scheduledAhead;
      preemptedWhileDrawing += traffic.preemptedWhileDrawing;
      waitedForHistory += traffic.waitedForHistory;
      hitTokens += traffic.scheduler.numHitTokens();
      sharedBlocks += traffic.checks.sharedBlocks;
      hitsAfterPreemption += traffic.checks.hitsAfterPreemption;
    }
    assertThat(reasons).containsExactlyInAnyOrder(FinishReason.values());
    assertThat(preemptions).isGreaterThan(1_000);
    assertThat(scored).isGreaterThan(10);
    assertThat(hitTokens).isGreaterThan(2_000);
    assertThat(sharedBlocks).isGreaterThan(2_000);
    assertThat(hitsAfterPreemption).isGreaterThan(100);
    if (ahead) {
      assertThat(scheduledAhead).isGreaterThan(1_000);
      assertThat(preemptedWhileDrawing).isGreaterThan(100);
      assertThat(waitedForHistory).isGreaterThan(1_000);
    }
  }
}
