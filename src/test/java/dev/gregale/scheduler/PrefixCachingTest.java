package dev.gregale.scheduler;

import static org.assertj.core.api.Assertions.assertThat;

import com.sun.management.ThreadMXBean;
import dev.gregale.sampling.FinishReason;
import dev.gregale.sampling.SamplingParams;
import dev.gregale.sampling.SamplingParamsBuilder;
import java.lang.management.ManagementFactory;
import java.util.Arrays;
import org.jspecify.annotations.Nullable;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;

/** What a scheduler computes, and what it does not compute again. */
@Timeout(20)
class PrefixCachingTest {
  private static final int MAX_MODEL_LEN = 32;
  private static final int TOKEN = 5;

  private SchedulerConfig config = config(16, true);
  private Scheduler scheduler = new Scheduler(config);
  private ScheduledBatch batch = config.newBatch();

  private static SchedulerConfig config(int blocks, boolean enabled) {
    return new SchedulerConfig(4, 64, MAX_MODEL_LEN, 4, blocks, 64, 8, enabled);
  }

  private void use(SchedulerConfig other) {
    config = other;
    scheduler = new Scheduler(config);
    batch = config.newBatch();
  }

  private static SamplingParamsBuilder params(int maxTokens) {
    return SamplingParams.builder().maxTokens(maxTokens);
  }

  /** The prompt is 10, 11, 12 and so on. */
  private Sequence add(int promptLength, @Nullable String salt, SamplingParamsBuilder params) {
    int[] prompt = new int[promptLength];
    Arrays.setAll(prompt, i -> 10 + i);
    return add(prompt, salt, params);
  }

  private Sequence add(int[] prompt, @Nullable String salt, SamplingParamsBuilder params) {
    Sequence sequence = new Sequence(prompt, params.build(), 7, new int[0], MAX_MODEL_LEN, salt);
    scheduler.add(sequence);
    return sequence;
  }

  private void schedule() {
    scheduler.schedule(batch);
  }

  private void update() {
    update(batch);
  }

  private void update(ScheduledBatch step) {
    int[] sampled = new int[config.maxLogitRows()];
    Arrays.fill(sampled, TOKEN);
    scheduler.update(step, sampled);
  }

  private void step() {
    schedule();
    update();
  }

  private void finish(Sequence sequence) {
    while (sequence.finishReason() == null) {
      step();
    }
  }

  /** What a fresh sequence of that salt finds. */
  private int cachedTokens(int promptLength, @Nullable String salt) {
    Sequence sequence = add(promptLength, salt, params(1));
    schedule();
    int cached = sequence.numCachedTokens();
    assertThat(batch.numTokens).isEqualTo(promptLength - cached);
    assertThat(batch.positions[0]).isEqualTo(cached);
    assertThat(batch.tokenIds[0]).isEqualTo(10 + cached);
    assertThat(batch.contextLens[0]).isEqualTo(promptLength);
    scheduler.abort(sequence);
    return cached;
  }

  @Test
  void fullBlocksAreFoundButOneTokenIsAlwaysComputed() {
    finish(add(18, null, params(1)));
    assertThat(cachedTokens(18, null)).isEqualTo(16);
    assertThat(cachedTokens(17, null)).isEqualTo(16);
    assertThat(cachedTokens(16, null)).isEqualTo(12);
    assertThat(cachedTokens(30, null)).isEqualTo(16);
    assertThat(cachedTokens(4, null)).isZero();
    assertThat(scheduler.numQueriedTokens()).isEqualTo(18 + 18 + 17 + 16 + 30 + 4);
    assertThat(scheduler.numHitTokens()).isEqualTo(16 + 16 + 12 + 16);
    assertThat(scheduler.numFreeBlocks()).isEqualTo(16);
  }

  @Test
  void nothingIsFoundWhenSwitchedOff() {
    use(config(16, false));
    finish(add(18, null, params(1)));
    assertThat(cachedTokens(18, null)).isZero();
    assertThat(scheduler.numQueriedTokens()).isZero();
  }

  @Test
  void saltsDoNotShare() {
    finish(add(18, "a", params(1)));
    assertThat(cachedTokens(18, null)).isZero();
    assertThat(cachedTokens(18, "b")).isZero();
    assertThat(cachedTokens(18, "")).isZero();
    assertThat(cachedTokens(18, new String("a".toCharArray()))).isEqualTo(16);
    finish(add(18, null, params(1)));
    assertThat(cachedTokens(18, null)).isEqualTo(16);
    assertThat(cachedTokens(18, "b")).isZero();
  }

  @Test
  void oneTokenThatDiffersEndsTheMatch() {
    finish(add(18, null, params(1)));
    int[] prompt = new int[18];
    Arrays.setAll(prompt, i -> i == 6 ? 99 : 10 + i);
    Sequence sequence = add(prompt, null, params(1));
    schedule();
    assertThat(sequence.numCachedTokens()).isEqualTo(4);
  }

  @Test
  void outputIsFoundTooButNotItsLastToken() {
    finish(add(6, null, params(7))); // 13 tokens of which 12 are computed
    int[] prompt = {10, 11, 12, 13, 14, 15, 5, 5, 5, 5, 5, 5, 5, 20};
    Sequence sequence = add(prompt, null, params(1));
    schedule();
    assertThat(sequence.numCachedTokens()).isEqualTo(12);
    finish(add(6, "b", params(6))); // 12 tokens of which 11 are computed
    Sequence other = add(prompt, "b", params(1));
    schedule();
    assertThat(other.numCachedTokens()).isEqualTo(8);
  }

  @Test
  void isFoundWhileItsFirstOwnerRunsOnceItsStepIsTakenOver() {
    Sequence first = add(18, null, params(9));
    schedule();
    Sequence second = add(18, null, params(9));
    ScheduledBatch behind = config.newBatch();
    scheduler.schedule(behind);
    assertThat(second.numCachedTokens()).isZero();
    update();
    update(behind);
    Sequence third = add(18, null, params(9));
    step();
    assertThat(third.numCachedTokens()).isEqualTo(16);
    assertThat(first.status()).isEqualTo(Sequence.Status.RUNNING);
    finish(first);
    finish(second);
    finish(third);
    assertThat(scheduler.numFreeBlocks()).isEqualTo(16);
  }

  @Test
  void aStepThatFailsLeavesNothing() {
    Sequence first = add(18, null, params(1));
    schedule();
    scheduler.abort(first);
    assertThat(cachedTokens(18, null)).isZero();
  }

  @Test
  void whatIsForgottenIsNotFoundNorFilledOn() {
    Sequence first = add(17, null, params(15));
    step();
    scheduler.forgetPrefixes();
    finish(first); // its blocks from the fifth on are behind something that nobody can find
    assertThat(cachedTokens(17, null)).isZero();
    assertThat(scheduler.numFreeBlocks()).isEqualTo(16);
  }

  @Test
  void aPromptToBeScoredIsComputedAndKept() {
    finish(add(18, null, params(1)));
    Sequence scored = add(18, null, params(1).promptLogprobs(0));
    schedule();
    assertThat(scored.numCachedTokens()).isZero();
    assertThat(batch.numTokens).isEqualTo(18);
    assertThat(batch.numLogitRows).isEqualTo(18);
    update();
    assertThat(scheduler.numQueriedTokens()).isEqualTo(18);
    finish(add(18, "b", params(0).promptLogprobs(0)));
    assertThat(cachedTokens(18, "b")).isEqualTo(16);
  }

  @Test
  void maxTokensZeroComputesTheLastTokenAgain() {
    finish(add(18, null, params(1)));
    Sequence sequence = add(18, null, params(0));
    step();
    assertThat(sequence.finishReason()).isEqualTo(FinishReason.LENGTH);
    assertThat(sequence.numCachedTokens()).isEqualTo(16);
  }

  @Test
  void whatWasUsedLastStaysLongest() {
    use(config(8, true));
    finish(add(new int[] {1, 1, 1, 1, 1}, null, params(1)));
    finish(add(new int[] {2, 2, 2, 2, 2}, null, params(1)));
    finish(add(new int[] {1, 1, 1, 1, 3}, null, params(1))); // finds the first block
    finish(add(new int[25], null, params(1))); // takes seven of the eight blocks
    Sequence one = add(new int[] {1, 1, 1, 1, 4}, null, params(1));
    Sequence two = add(new int[] {2, 2, 2, 2, 4}, null, params(1));
    schedule();
    assertThat(one.numCachedTokens()).isEqualTo(4);
    assertThat(two.numCachedTokens()).isZero();
  }

  @Test
  void thePreemptedFindTheirBlocksAgain() {
    use(config(8, true));
    Sequence old = add(15, null, params(10));
    int[] prompt = new int[14];
    Sequence young = add(prompt, null, params(10));
    while (scheduler.numPreemptions() == 0) {
      step();
    }
    assertThat(young.status()).isEqualTo(Sequence.Status.WAITING);
    assertThat(young.numComputedTokens()).isZero();
    int known = young.numTokens();
    scheduler.abort(old);
    schedule();
    assertThat(batch.sequences).containsExactly(young);
    assertThat(batch.numTokens).isEqualTo(known - 12); // three blocks were full, none was needed
    assertThat(young.numCachedTokens()).as("at first").isZero();
    assertThat(scheduler.numHitTokens()).isZero();
  }

  @Test
  void sharedBlocksTakeTheirRoomOnce() {
    use(config(9, true));
    Sequence first = add(30, null, params(1));
    step();
    assertThat(first.finishReason()).isNotNull();
    add(30, null, params(2));
    add(30, null, params(2));
    schedule(); // seven blocks shared, one each of their own
    assertThat(batch.numSeqs()).isEqualTo(2);
    assertThat(batch.numTokens).isEqualTo(4);
    assertThat(scheduler.numFreeBlocks()).isZero();
    add(30, null, params(2));
    schedule();
    assertThat(scheduler.numWaiting()).isEqualTo(1);
  }

  @Test
  void fillingBlocksAllocatesNothing() {
    use(new SchedulerConfig(8, 64, 4_096, 4, 8_192, 64, 8, true));
    for (int i = 0; i < 8; i++) {
      SamplingParams params = params(4_000).build();
      scheduler.add(new Sequence(new int[] {i}, params, i, new int[0], 4_096, "salt"));
    }
    int[] sampled = new int[config.maxLogitRows()];
    for (int i = 0; i < 1_100; i++) { // the arrays that grow have room for 2048 from 1024 on
      schedule();
      scheduler.update(batch, sampled);
    }
    ThreadMXBean threads = (ThreadMXBean) ManagementFactory.getThreadMXBean();
    long before = threads.getCurrentThreadAllocatedBytes();
    for (int i = 0; i < 900; i++) {
      schedule();
      scheduler.update(batch, sampled);
    }
    assertThat(threads.getCurrentThreadAllocatedBytes() - before).isLessThan(900);
    assertThat(batch.contextLens[7]).isEqualTo(2_000);
  }
}
