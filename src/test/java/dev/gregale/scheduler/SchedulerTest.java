package dev.gregale.scheduler;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import com.sun.management.ThreadMXBean;
import dev.gregale.sampling.FinishReason;
import dev.gregale.sampling.SamplingParams;
import java.lang.management.ManagementFactory;
import java.util.Arrays;
import java.util.Set;
import org.junit.jupiter.api.Test;

class SchedulerTest extends SchedulerFixture {

  private static int[] cuSeqLens(ScheduledBatch batch) {
    return Arrays.copyOf(batch.cuSeqLens, batch.numSeqs() + 1);
  }

  @Test
  void decodesGoFirstAndPromptsAreCutToTheBudget() {
    add(20, params());
    step(5); // 16 of 20
    Sequence shortOne = add(3, params());
    step(5); // the last 4, then 3
    assertThat(cuSeqLens(batch)).containsExactly(0, 4, 7);
    add(17, params());
    step(5);
    assertThat(cuSeqLens(batch)).containsExactly(0, 1, 2, 16);
    assertThat(batch.sequences.get(1)).isSameAs(shortOne);
    step(5);
    assertThat(cuSeqLens(batch)).containsExactly(0, 1, 2, 5);
    assertThat(batch.numLogitRows).isEqualTo(3);
  }

  @Test
  void aPartOfAPromptAsksForNoLogits() {
    add(20, params());
    scheduler.schedule(batch);
    assertThat(batch.numTokens).isEqualTo(16);
    assertThat(batch.numLogitRows).isZero();
  }

  @Test
  void fillsARowWithWhatSamplingNeeds() {
    add(3, params().temperature(0.5f).topK(4).topP(0.9f).minP(0.1f).logprobs(2));
    scheduler.schedule(batch);
    assertThat(batch.numLogitRows).isEqualTo(1);
    assertThat(batch.logitRows[0]).isEqualTo(2);
    assertThat(batch.samplePosition[0]).isEqualTo(3);
    assertThat(batch.givenToken[0]).isEqualTo(-1);
    assertThat(batch.seed[0]).isEqualTo(7);
    assertThat(batch.temperature[0]).isEqualTo(0.5f);
    assertThat(batch.topK[0]).isEqualTo(4);
    assertThat(batch.topP[0]).isEqualTo(0.9f);
    assertThat(batch.minP[0]).isEqualTo(0.1f);
    assertThat(batch.numLogprobs[0]).isEqualTo(2);
    assertThat(batch.numAdjustments).isZero();
  }

  @Test
  void scoresThePromptInChunksThatFitTheRowsOfLogits() {
    use(config(4, 16, 16, 5));
    Sequence sequence = add(9, params().promptLogprobs(1).maxTokens(2));
    step(5);
    assertThat(batch.numTokens).isEqualTo(5);
    assertThat(Arrays.copyOf(batch.givenToken, 5)).containsExactly(11, 12, 13, 14, 15);
    assertThat(Arrays.copyOf(batch.samplePosition, 5)).containsExactly(1, 2, 3, 4, 5);
    assertThat(batch.numLogprobs[0]).isEqualTo(1);
    step(5);
    assertThat(batch.numTokens).isEqualTo(4);
    assertThat(Arrays.copyOf(batch.givenToken, 4)).containsExactly(16, 17, 18, -1);
    step(5);
    assertThat(sequence.finishReason()).isEqualTo(FinishReason.LENGTH);
  }

  @Test
  void maxTokensZeroOnlyScores() {
    Sequence sequence = add(4, params().maxTokens(0).promptLogprobs(0));
    step(5);
    assertThat(Arrays.copyOf(batch.givenToken, batch.numLogitRows)).containsExactly(11, 12, 13);
    assertThat(sequence.finishReason()).isEqualTo(FinishReason.LENGTH);
    assertThat(sequence.numOutputTokens()).isZero();
    assertThat(scheduler.hasWork()).isFalse();
  }

  @Test
  void aProbeLeavesTheCacheAsItIs() {
    add(3, params());
    step(5);
    int free = scheduler.numFreeBlocks();
    scheduler.scheduleProbe(batch);
    assertThat(batch.numTokens).isEqualTo(1);
    assertThat(batch.numLogitRows).isEqualTo(1);
    assertThat(batch.slotMapping[0]).isEqualTo(-1);
    assertThat(scheduler.numFreeBlocks()).isEqualTo(free);
    step(5);
    assertThat(batch.contextLens[0]).isEqualTo(4);
  }

  @Test
  void theYoungestIsPreemptedAndComesBackWithAllItsTokens() {
    use(config(2, 16, 8, 16));
    Sequence old = add(15, params().maxTokens(10).promptLogprobs(0));
    step(5);
    Sequence young = add(14, params().maxTokens(10).ignoreEos(true));
    step(5);
    step(5); // 17 and 15 tokens known, hence 5 blocks of computing and 4
    assertThat(young.status()).isEqualTo(Sequence.Status.WAITING);
    assertThat(scheduler.numPreemptions()).isEqualTo(1);
    assertThat(young.numComputedTokens()).isZero();
    assertThat(batch.sequences).containsExactly(old);
    while (old.finishReason() == null) {
      step(5);
    }
    step(5);
    assertThat(batch.sequences).containsExactly(young);
    assertThat(batch.numTokens).isEqualTo(young.numTokens() - 1);
    assertThat(batch.numLogitRows).isEqualTo(1);
  }

  @Test
  void nobodyOvertakesTheHeadOfTheQueue() {
    use(config(4, 64, 8, 16));
    add(20, params());
    step(5);
    add(16, params());
    Sequence small = add(1, params());
    step(5);
    assertThat(small.status()).isEqualTo(Sequence.Status.WAITING);
  }

  @Test
  void stopsAtEndOfSequenceStopTokensLengthAndTheEndOfTheContext() {
    Sequence eos = add(1, params());
    Sequence ignoring = add(1, params().ignoreEos(true).maxTokens(2));
    Sequence early = add(1, params().minTokens(1).maxTokens(5));
    step(2);
    assertThat(eos.finishReason()).isEqualTo(FinishReason.STOP);
    assertThat(ignoring.finishReason()).isNull();
    assertThat(early.finishReason()).isNull();
    step(2);
    assertThat(ignoring.finishReason()).isEqualTo(FinishReason.LENGTH);
    assertThat(early.finishReason()).isEqualTo(FinishReason.STOP);

    Sequence stopToken = add(1, params().ignoreEos(true).stopTokenIds(Set.of(9)));
    step(9);
    assertThat(stopToken.finishReason()).isEqualTo(FinishReason.STOP);

    Sequence full = add(MAX_MODEL_LEN - 1, params());
    step(5);
    step(5);
    assertThat(full.finishReason()).isEqualTo(FinishReason.LENGTH);
    assertThat(full.numOutputTokens()).isEqualTo(1);
    assertThat(scheduler.numFreeBlocks()).isEqualTo(16);
  }

  @Test
  void aSteadyStepAllocatesNothing() {
    use(new SchedulerConfig(8, 64, 4_096, 16, 2_048, 64, 8, true));
    for (int i = 0; i < 8; i++) {
      SamplingParams params = params().maxTokens(4_000).frequencyPenalty(1).build();
      scheduler.add(new Sequence(new int[] {1}, params, i, EOS, 4_096, null));
    }
    int[] sampled = new int[config.maxLogitRows()];
    Arrays.fill(sampled, 5);
    for (int i = 0; i < 1_100; i++) { // the arrays that grow have 2048 places from 1024 on
      scheduler.schedule(batch);
      scheduler.update(batch, sampled);
    }
    ThreadMXBean threads = (ThreadMXBean) ManagementFactory.getThreadMXBean();
    long before = threads.getCurrentThreadAllocatedBytes();
    for (int i = 0; i < 900; i++) {
      scheduler.schedule(batch);
      scheduler.update(batch, sampled);
    }
    assertThat(threads.getCurrentThreadAllocatedBytes() - before).isLessThan(900);
    assertThat(batch.contextLens[7]).isEqualTo(2_000);
  }

  @Test
  void refusesWhatCannotWork() {
    for (int i = 0; i < 8; i++) {
      add(1, params());
    }
    assertThatThrownBy(() -> add(1, params()))
        .isInstanceOf(IllegalStateException.class)
        .hasMessageContaining("8 sequences are waiting");
    assertThatThrownBy(() -> add(0, params())).hasMessageContaining("no tokens");
    assertThatThrownBy(() -> add(32, params()))
        .hasMessageContaining("32 tokens")
        .hasMessageContaining("leaves room for 31");
    assertThatThrownBy(() -> config(4, 16, 7, 16))
        .isInstanceOf(IllegalArgumentException.class)
        .hasMessageContaining("holds 28 tokens")
        .hasMessageContaining("max-model-len (32)");
    assertThatThrownBy(() -> config(4, 3, 8, 16)).hasMessageContaining("max-num-batched-tokens");
    assertThatThrownBy(() -> config(4, 16, 8, 3)).hasMessageContaining("rows");
  }
}
