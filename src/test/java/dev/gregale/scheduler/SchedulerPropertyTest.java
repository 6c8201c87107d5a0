package dev.gregale.scheduler;

import static java.util.Objects.requireNonNull;
import static org.assertj.core.api.Assertions.assertThat;

import dev.gregale.sampling.FinishReason;
import dev.gregale.sampling.SamplingParams;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.BitSet;
import java.util.HashMap;
import java.util.HashSet;
import java.util.IdentityHashMap;
import java.util.List;
import java.util.Map;
import java.util.Random;
import java.util.Set;
import org.jspecify.annotations.Nullable;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/** What must hold of the scheduler whatever arrives: random traffic over tiny block pools. */
class SchedulerPropertyTest {
  private static final int VOCAB = 40;
  private static final int[] EOS = {0};

  @ParameterizedTest(name = "seed {0}")
  @ValueSource(longs = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20})
  void invariantsHoldUnderRandomTraffic(long seed) {
    new Traffic(seed, false, false).run(2_000);
  }

  @ParameterizedTest(name = "seed {0}")
  @ValueSource(longs = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20})
  void invariantsHoldWhenScheduledAhead(long seed) {
    new Traffic(seed, true, false).run(2_000);
  }

  @ParameterizedTest(name = "seed {0}")
  @ValueSource(longs = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10})
  void invariantsHoldWithPriorities(long seed) {
    Traffic traffic = new Traffic(seed, seed % 2 == 0, true);
    traffic.run(2_000);
    assertThat(traffic.overtaken).as("seed %d", seed).isPositive();
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
      Traffic traffic = new Traffic(seed, ahead, false);
      traffic.run(2_000);
      reasons.addAll(traffic.reasons);
      preemptions += traffic.scheduler.numPreemptions();
      scored += traffic.scoredAfterPreemption;
      scheduledAhead += traffic.scheduledAhead;
      preemptedWhileDrawing += traffic.preemptedWhileDrawing;
      waitedForHistory += traffic.waitedForHistory;
      hitTokens += traffic.scheduler.numHitTokens();
      sharedBlocks += traffic.sharedBlocks;
      hitsAfterPreemption += traffic.hitsAfterPreemption;
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

  /** What the test knows of a sequence beside the scheduler. */
  private static final class Expected {
    final int[] prompt;
    final long seed;
    final long mustEndBy;
    final @Nullable String salt;
    final List<Float> promptLogprobs = new ArrayList<>();
    int computedAtMost;
    int blocks;
    boolean preempted;

    Expected(int[] prompt, long seed, long mustEndBy, @Nullable String salt) {
      this.prompt = prompt;
      this.seed = seed;
      this.mustEndBy = mustEndBy;
      this.salt = salt;
    }
  }

  private static final class Traffic {
    final long seed;
    final Random random;
    final SchedulerConfig config;
    final Scheduler scheduler;
    final boolean ahead;
    final boolean prioritised;
    final ScheduledBatch[] batches = new ScheduledBatch[2];
    final FakePagedModel model;
    final int[] tokens;
    final float[] logprobs;
    final Map<Sequence, Expected> live = new IdentityHashMap<>();
    final Set<FinishReason> reasons = new HashSet<>();

    /** Prompts with their outputs, for others to begin alike. */
    final List<int[]> texts = new ArrayList<>();

    @Nullable ScheduledBatch running;
    int scoredAfterPreemption;
    int scheduledAhead;
    int preemptedWhileDrawing;
    int waitedForHistory;
    int sharedBlocks;
    int hitsAfterPreemption;
    int overtaken;
    long step;

    /**
     * @param ahead schedule a step before the one that runs is taken over
     * @param prioritised sequences have priorities
     */
    Traffic(long seed, boolean ahead, boolean prioritised) {
      this.seed = seed;
      this.ahead = ahead;
      this.prioritised = prioritised;
      random = new Random(seed);
      int blockSize = 1 + random.nextInt(5);
      int maxModelLen = 8 + random.nextInt(40);
      int maxNumSeqs = 1 + random.nextInt(8);
      int numBlocks = Math.ceilDiv(maxModelLen, blockSize) + random.nextInt(12);
      int maxTokens = maxNumSeqs + random.nextInt(20);
      int maxRows = maxNumSeqs + random.nextInt(6);
      config =
          new SchedulerConfig(
              maxNumSeqs,
              maxTokens,
              maxModelLen,
              blockSize,
              numBlocks,
              maxRows,
              1_000,
              seed % 5 != 0);
      scheduler = new Scheduler(config);
      batches[0] = config.newBatch();
      batches[1] = config.newBatch();
      model = new FakePagedModel(numBlocks, blockSize, VOCAB);
      tokens = new int[maxRows];
      logprobs = new float[maxRows];
    }

    void run(int steps) {
      try {
        double rate = 0.05 + random.nextDouble() * 0.4;
        for (int i = 0; i < steps; i++) {
          if (live.size() < 40 && random.nextDouble() < rate) {
            arrive();
          }
          if (!live.isEmpty() && random.nextInt(25) == 0) {
            abortAny();
          }
          step();
        }
        while (scheduler.hasWork() || running != null) {
          step();
        }
        assertThat(live).isEmpty();
        assertThat(scheduler.numFreeBlocks()).isEqualTo(config.numBlocks());
        for (int block = 0; block < config.numBlocks(); block++) {
          assertThat(scheduler.blocks().refCount(block)).isZero();
        }
        assertThat(scheduler.numHitTokens()).isLessThanOrEqualTo(scheduler.numQueriedTokens());
        assertThat(scheduler.numQueriedTokens() > 0).isEqualTo(config.enablePrefixCaching());
        assertThat(scheduler.numRunning() + scheduler.numWaiting()).isZero();
      } catch (Throwable e) {
        throw new AssertionError(
            "seed " + seed + ", ahead " + ahead + ", step " + step + ", " + config, e);
      }
    }

    void arrive() {
      int maxTokens = random.nextInt(5) == 0 ? 0 : 1 + random.nextInt(30);
      int[] prompt = prompt();
      @Nullable String salt = random.nextInt(3) == 0 ? "salt " + random.nextInt(2) : null;
      SamplingParams params =
          SamplingParams.builder()
              .maxTokens(maxTokens)
              .ignoreEos(random.nextBoolean())
              .presencePenalty(random.nextInt(10) == 0 ? 0.5f : 0) // needs history
              .promptLogprobs(random.nextInt(3) == 0 ? random.nextInt(3) : -1)
              .build();
      long drawSeed = random.nextLong();
      Sequence sequence = new Sequence(prompt, params, drawSeed, EOS, config.maxModelLen(), salt);
      long mustEndBy = step + (live.size() + 1L) * (config.maxModelLen() + 1) * (ahead ? 2 : 1);
      live.put(sequence, new Expected(prompt, drawSeed, mustEndBy, salt));
      scheduler.add(sequence, prioritised ? random.nextInt(3) - 1 : 0);
    }

    /** A new prompt, or one that begins as another prompt and perhaps its output. */
    int[] prompt() {
      int[] prompt = random.ints(1 + random.nextInt(config.maxModelLen() - 1), 0, VOCAB).toArray();
      if (!texts.isEmpty() && random.nextInt(3) > 0) {
        int[] text = texts.get(random.nextInt(texts.size()));
        int shared = Math.min(prompt.length, text.length - random.nextInt(5));
        System.arraycopy(text, 0, prompt, 0, Math.max(0, shared));
      }
      remember(prompt);
      return prompt;
    }

    void remember(int[] text) {
      texts.add(text);
      if (texts.size() > 10) {
        texts.remove(random.nextInt(10));
      }
    }

    void abortAny() {
      List<Sequence> all = new ArrayList<>(live.keySet());
      Sequence sequence = all.get(random.nextInt(all.size()));
      scheduler.abort(sequence);
      ended(sequence);
    }

    /** Schedules a step, behind the running one where that may be, and takes the older one over. */
    void step() {
      step++;
      ScheduledBatch before = running;
      if (before != null && before.needsHistory) {
        waitedForHistory++;
        running = null;
      } else {
        schedule();
      }
      if (!ahead) {
        before = running;
        running = null;
      }
      if (before != null) {
        complete(before);
      }
    }

    /** The next step runs from now on, if there is any. */
    void schedule() {
      ScheduledBatch batch = running == batches[0] ? batches[1] : batches[0];
      long preemptions = scheduler.numPreemptions();
      List<Sequence> drawing =
          live.keySet().stream().filter(sequence -> sequence.numPlaceholders() > 0).toList();
      List<Sequence> ran =
          live.keySet().stream().filter(s -> s.status() == Sequence.Status.RUNNING).toList();
      scheduler.schedule(batch);
      checkOrder(ran);
      if (running == null) {
        assertThat(batch.isEmpty()).as("empty batch").isEqualTo(live.isEmpty());
      } else if (!batch.isEmpty()) {
        scheduledAhead++;
      }
      if (scheduler.numPreemptions() > preemptions) {
        preemptedWhileDrawing +=
            (int) drawing.stream().filter(s -> s.status() == Sequence.Status.WAITING).count();
      }
      checkBatch(batch);
      checkBlocks();
      running = batch.isEmpty() ? null : batch;
    }

    /**
     * Nobody who waits goes before those that were let in; nobody who runs goes after the others.
     */
    void checkOrder(List<Sequence> ran) {
      for (Sequence in : live.keySet()) {
        for (Sequence out : live.keySet()) {
          boolean changed = ran.contains(in) ? ran.contains(out) : !ran.contains(out);
          if (changed
              && in.status() == Sequence.Status.RUNNING
              && out.status() == Sequence.Status.WAITING) {
            assertThat(in.priority()).isLessThanOrEqualTo(out.priority());
            if (in.priority() == out.priority()) {
              assertThat(in.arrival()).isLessThan(out.arrival());
            } else if (in.arrival() > out.arrival()) {
              overtaken++;
            }
          }
        }
      }
    }

    /** Runs a step, as late as can be, and takes it over. */
    void complete(ScheduledBatch batch) {
      model.run(batch, tokens, logprobs);
      collectPromptLogprobs(batch);
      List<Sequence> scheduled = List.copyOf(batch.sequences);
      if (random.nextInt(50) == 0) { // cancelled while the step runs
        Sequence victim = scheduled.getFirst();
        if (live.containsKey(victim)) {
          scheduler.abort(victim);
          ended(victim);
        }
      }
      scheduler.update(batch, tokens);
      checkBlocks();
      for (Sequence sequence : scheduled) {
        if (live.containsKey(sequence) && sequence.status() == Sequence.Status.FINISHED) {
          ended(sequence);
        }
      }
      if (!prioritised) {
        live.forEach((sequence, e) -> assertThat(step).as("starved").isLessThan(e.mustEndBy));
      }
    }

    void checkBatch(ScheduledBatch batch) {
      assertThat(batch.numTokens).isLessThanOrEqualTo(config.maxNumBatchedTokens());
      assertThat(batch.numLogitRows).isLessThanOrEqualTo(config.maxLogitRows());
      assertThat(batch.numSeqs()).isLessThanOrEqualTo(scheduler.numRunning());
      assertThat(scheduler.numRunning()).isLessThanOrEqualTo(config.maxNumSeqs());
      BitSet slots = new BitSet();
      int drawn = 0;
      for (int s = 0; s < batch.numSeqs(); s++) {
        Sequence sequence = batch.sequences.get(s);
        int first = batch.cuSeqLens[s];
        int length = batch.cuSeqLens[s + 1] - first;
        assertThat(length).isPositive();
        assertThat(batch.contextLens[s]).isEqualTo(sequence.numComputedTokens());
        for (int i = 0; i < length; i++) {
          int position = sequence.numComputedTokens() - length + i;
          int slot = batch.slotMapping[first + i];
          assertThat(batch.positions[first + i]).isEqualTo(position);
          if (position < sequence.numTokens()) {
            assertThat(batch.tokenSources[first + i]).isEqualTo(ScheduledBatch.FROM_HOST);
            assertThat(batch.tokenIds[first + i]).isEqualTo(sequence.token(position));
          } else {
            checkSource(batch.tokenSources[first + i], sequence);
          }
          assertThat(slots.get(slot)).as("slot %d used twice", slot).isFalse();
          assertThat(slot / config.blockSize())
              .isEqualTo(sequence.blockTable().get(position / config.blockSize()));
          slots.set(slot);
          int block = slot / config.blockSize();
          assertThat(scheduler.blocks().refCount(block)).as("written while shared").isEqualTo(1);
          assertThat(scheduler.blocks().isShareable(block)).as("written when known").isFalse();
        }
        boolean complete = batch.contextLens[s] >= sequence.numTokens();
        drawn += complete && sequence.params().maxTokens() > 0 ? 1 : 0;
      }
      int draws = 0;
      for (int r = 0; r < batch.numLogitRows; r++) {
        draws += batch.draws(r) ? 1 : 0;
      }
      assertThat(draws).isEqualTo(drawn);
    }

    /** A token that is not known is what the running step draws for that sequence. */
    void checkSource(int row, Sequence sequence) {
      ScheduledBatch before = requireNonNull(running);
      assertThat(before.draws(row)).isTrue();
      assertThat(before.sequences.get(before.logitSequence[row])).isSameAs(sequence);
      assertThat(sequence.params().needsHistory()).isFalse();
    }

    void checkBlocks() {
      int[] owners = new int[config.numBlocks()];
      Map<Integer, List<Object>> contents = new HashMap<>();
      for (Sequence sequence : live.keySet()) {
        int size = sequence.blockTable().size();
        if (sequence.status() != Sequence.Status.RUNNING) {
          assertThat(size).isZero();
        }
        for (int i = 0; i < size; i++) {
          int block = sequence.blockTable().get(i);
          if (owners[block]++ == 0) {
            contents.put(block, content(sequence, i));
          } else { // they share it: same place, same tokens before and in it, same salt
            assertThat(content(sequence, i)).isEqualTo(contents.get(block));
            sharedBlocks++;
          }
        }
        Expected e = requireNonNull(live.get(sequence));
        if (size > 0 && e.blocks == 0 && e.preempted) {
          hitsAfterPreemption += sequence.blockTable().numContents() > 0 ? 1 : 0;
        }
        e.blocks = size;
        e.preempted |= sequence.numComputedTokens() < e.computedAtMost;
        e.computedAtMost = Math.max(e.computedAtMost, sequence.numComputedTokens());
      }
      for (int block = 0; block < owners.length; block++) {
        assertThat(scheduler.blocks().refCount(block)).isEqualTo(owners[block]);
      }
      assertThat(contents.size() + scheduler.numFreeBlocks()).isEqualTo(config.numBlocks());
    }

    /** All that the content of a sequence's i-th block depends on, if the block is full. */
    List<Object> content(Sequence sequence, int i) {
      List<Object> content = new ArrayList<>();
      content.add(String.valueOf(requireNonNull(live.get(sequence)).salt));
      int end = (i + 1) * config.blockSize();
      for (int t = 0; t < Math.min(end, sequence.numTokens()); t++) {
        content.add(sequence.token(t));
      }
      content.add(end <= sequence.numComputedTokens() ? "computed" : sequence);
      return content;
    }

    void collectPromptLogprobs(ScheduledBatch batch) {
      for (int r = 0; r < batch.numLogitRows; r++) {
        Expected e = live.get(batch.sequences.get(batch.logitSequence[r]));
        if (e != null && !batch.draws(r)) {
          assertThat(batch.samplePosition[r]).isEqualTo(e.promptLogprobs.size() + 1);
          e.promptLogprobs.add(logprobs[r]);
        }
      }
    }

    void ended(Sequence sequence) {
      Expected e = requireNonNull(live.remove(sequence));
      reasons.add(sequence.finishReason());
      assertThat(sequence.blockTable().size()).isZero();
      checkOutput(sequence, e);
      assertThat(sequence.numCachedTokens()).isLessThan(e.prompt.length);
      if (sequence.params().promptLogprobs() >= 0 && e.prompt.length > 1) {
        assertThat(sequence.numCachedTokens()).isZero();
      }
      if (sequence.finishReason() == FinishReason.ABORT) {
        return;
      }
      SamplingParams params = sequence.params();
      if (params.promptLogprobs() >= 0) {
        assertThat(e.promptLogprobs).hasSize(e.prompt.length - 1);
        scoredAfterPreemption += e.preempted ? 1 : 0;
      } else {
        assertThat(e.promptLogprobs).isEmpty();
      }
      for (int t = 0; t < e.promptLogprobs.size(); t++) {
        assertThat(e.promptLogprobs.get(t))
            .isEqualTo(FakePagedModel.logprob(e.prompt, t + 1, e.prompt[t + 1]));
      }
    }

    /** The output is what the sequence would have got alone, and stops where it must. */
    void checkOutput(Sequence sequence, Expected e) {
      int length = sequence.numOutputTokens();
      int[] context = Arrays.copyOf(e.prompt, e.prompt.length + length);
      boolean stopped = false;
      for (int i = 0; i < length; i++) {
        int n = e.prompt.length + i;
        context[n] = FakePagedModel.next(context, n, e.seed, VOCAB);
        assertThat(sequence.token(n)).isEqualTo(context[n]);
        assertThat(stopped).as("went on after a stop token").isFalse();
        stopped = context[n] == EOS[0] && !sequence.params().ignoreEos();
      }
      remember(context);
      boolean full =
          length == sequence.params().maxTokens() || context.length == config.maxModelLen();
      switch (sequence.finishReason()) {
        case STOP -> assertThat(stopped).isTrue();
        case LENGTH -> assertThat(full && !stopped).isTrue();
        case ABORT -> assertThat(full && length > 0 || stopped).isFalse();
        case null -> throw new AssertionError("ended without a reason");
      }
    }
  }
}
