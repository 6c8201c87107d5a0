package dev.gregale.scheduler;

import static java.util.Objects.requireNonNull;
import static org.assertj.core.api.Assertions.assertThat;

import dev.gregale.sampling.FinishReason;
import dev.gregale.sampling.SamplingParams;
import java.util.ArrayList;
import java.util.HashSet;
import java.util.IdentityHashMap;
import java.util.List;
import java.util.Map;
import java.util.Random;
import java.util.Set;
import org.jspecify.annotations.Nullable;

/** Random traffic over a tiny block pool, with every step checked. */
final class RandomTraffic {
  static final int VOCAB = 40;
  static final int[] EOS = {0};

  final long seed;
  final Random random;
  final SchedulerConfig config;
  final Scheduler scheduler;
  final boolean ahead;
  final boolean prioritised;
  final ScheduledBatch[] batches = new ScheduledBatch[2];
  final ScheduleChecks checks;
  final FakePagedModel model;
  final int[] tokens;
  final float[] logprobs;
  final Map<Sequence, ExpectedSequence> live = new IdentityHashMap<>();
  final Set<FinishReason> reasons = new HashSet<>();

  /** Prompts with their outputs, for others to begin alike. */
  final List<int[]> texts = new ArrayList<>();

  @Nullable ScheduledBatch running;
  int scoredAfterPreemption;
  int scheduledAhead;
  int preemptedWhileDrawing;
  int waitedForHistory;
  long step;

  /**
   * @param ahead schedule a step before the one that runs is taken over
   * @param prioritised sequences have priorities
   */
  RandomTraffic(long seed, boolean ahead, boolean prioritised) {
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
    checks = new ScheduleChecks(config, scheduler, live);
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
    live.put(sequence, new ExpectedSequence(prompt, drawSeed, mustEndBy, salt));
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
    checks.checkOrder(ran);
    if (running == null) {
      assertThat(batch.isEmpty()).as("empty batch").isEqualTo(live.isEmpty());
    } else if (!batch.isEmpty()) {
      scheduledAhead++;
    }
    if (scheduler.numPreemptions() > preemptions) {
      preemptedWhileDrawing +=
          (int) drawing.stream().filter(s -> s.status() == Sequence.Status.WAITING).count();
    }
    checks.checkBatch(batch, running);
    checks.checkBlocks();
    running = batch.isEmpty() ? null : batch;
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
    checks.checkBlocks();
    for (Sequence sequence : scheduled) {
      if (live.containsKey(sequence) && sequence.status() == Sequence.Status.FINISHED) {
        ended(sequence);
      }
    }
    if (!prioritised) {
      live.forEach((sequence, e) -> assertThat(step).as("starved").isLessThan(e.mustEndBy));
    }
  }

  void collectPromptLogprobs(ScheduledBatch batch) {
    for (int r = 0; r < batch.numLogitRows; r++) {
      ExpectedSequence e = live.get(batch.sequences.get(batch.logitSequence[r]));
      if (e != null && !batch.draws(r)) {
        assertThat(batch.samplePosition[r]).isEqualTo(e.promptLogprobs.size() + 1);
        e.promptLogprobs.add(logprobs[r]);
      }
    }
  }

  void ended(Sequence sequence) {
    ExpectedSequence e = requireNonNull(live.remove(sequence));
    reasons.add(sequence.finishReason());
    assertThat(sequence.blockTable().size()).isZero();
    remember(e.checkOutput(sequence, config));
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
}
