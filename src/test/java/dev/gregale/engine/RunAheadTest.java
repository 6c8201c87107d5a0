package dev.gregale.engine;

import static java.util.Objects.requireNonNull;
import static org.assertj.core.api.Assertions.assertThat;

import com.sun.management.ThreadMXBean;
import dev.gregale.backend.Backend;
import dev.gregale.backend.cpu.CpuBackend;
import dev.gregale.model.KvCache;
import dev.gregale.model.LoadFormat;
import dev.gregale.model.MixtralConfig;
import dev.gregale.model.ModelLoader;
import dev.gregale.model.ModelRunner;
import dev.gregale.model.Precision;
import dev.gregale.model.StepOutput;
import dev.gregale.sampling.FinishReason;
import dev.gregale.sampling.SamplingParams;
import dev.gregale.sampling.SamplingParamsBuilder;
import dev.gregale.scheduler.ScheduledBatch;
import dev.gregale.scheduler.Scheduler;
import dev.gregale.scheduler.SchedulerConfig;
import dev.gregale.scheduler.Sequence;
import java.lang.management.ManagementFactory;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.EnumSet;
import java.util.List;
import java.util.Map;
import java.util.Random;
import java.util.Set;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.TestInstance;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/** The model itself, one step at a time and a step ahead: every sequence must come out the same. */
@TestInstance(TestInstance.Lifecycle.PER_CLASS)
class RunAheadTest {
  private static final Path MODEL = Path.of("src/test/resources/golden/random/odd0/hf");
  private static final int MAX_LEN = 64;
  private static final int BLOCK_SIZE = 4;
  private static final int MAX_SEQS = 6;

  /** Too few for six sequences. */
  private static final SchedulerConfig CONFIG =
      new SchedulerConfig(MAX_SEQS, 24, MAX_LEN, BLOCK_SIZE, 28, 24, 64, false);

  private Backend backend;
  private int vocabSize;
  private ModelRunner model;

  Backend open() {
    return CpuBackend.create(1);
  }

  /** What a step may allocate on the loop's thread once warm. */
  long maxBytesPerStep() {
    return 0;
  }

  @BeforeAll
  void load() {
    backend = open();
    try (ModelLoader loader = ModelLoader.open(MODEL, LoadFormat.AUTO, Precision.AS_STORED)) {
      MixtralConfig config = loader.config();
      vocabSize = config.vocabSize();
      model =
          new ModelRunner(
              backend,
              backend.kernels(),
              config,
              loader.upload(backend, MAX_LEN, layer -> {}),
              KvCache.allocate(
                  backend, config, CONFIG.numBlocks(), BLOCK_SIZE, backend.kvCacheDType()),
              CONFIG.maxNumBatchedTokens(),
              MAX_SEQS,
              CONFIG.maxLogitRows(),
              CONFIG.maxBlocksPerSeq(),
              SamplingParams.MAX_LOGPROBS);
    }
  }

  @AfterAll
  void close() {
    backend.close();
  }

  /** What became of a sequence. */
  private record Outcome(FinishReason reason, List<Integer> tokens, List<Float> logprobs) {}

  /** A random sequence, when it arrives, and after how many tokens it is aborted. */
  private record Arrival(int step, int[] prompt, SamplingParams params, long seed, int abortAt) {}

  private List<Arrival> traffic(long seed) {
    Random random = new Random(seed);
    List<Arrival> arrivals = new ArrayList<>();
    int step = 0;
    for (int i = 0; i < 30; i++) {
      step += random.nextInt(6);
      int[] prompt = random.ints(1 + random.nextInt(40), 0, vocabSize).toArray();
      int abortAt = random.nextInt(5) == 0 ? random.nextInt(10) : Integer.MAX_VALUE;
      arrivals.add(new Arrival(step, prompt, params(random), random.nextLong(), abortAt));
    }
    return arrivals;
  }

  private SamplingParams params(Random random) {
    SamplingParamsBuilder params =
        SamplingParams.builder()
            .maxTokens(random.nextInt(8) == 0 ? 0 : 1 + random.nextInt(40))
            .temperature(random.nextInt(3) == 0 ? 0 : 2)
            .topK(random.nextInt(2) * 20)
            .minTokens(random.nextInt(3) == 0 ? 5 : 0)
            .logprobs(random.nextInt(4) - 1)
            .promptLogprobs(random.nextInt(4) == 0 ? 1 : -1);
    if (random.nextInt(2) == 0) {
      params.stopTokenIds(Set.of(random.nextInt(vocabSize), random.nextInt(vocabSize)));
    }
    switch (random.nextInt(12)) {
      case 0 -> params.repetitionPenalty(1.3f);
      case 1 -> params.noRepeatNgramSize(2);
      case 2 -> params.logitBias(Map.of(random.nextInt(vocabSize), 5f));
      default -> {}
    }
    return params.build();
  }

  private final class Run {
    final Scheduler scheduler = new Scheduler(CONFIG);
    final StepPipeline pipeline;
    final List<Sequence> sequences = new ArrayList<>();
    final List<List<Float>> logprobs = new ArrayList<>();
    final int[] eos = {0, 1};
    int mostInFlight;

    Run(int maxInFlight) {
      pipeline = new StepPipeline(scheduler, CONFIG, new InFlight(model, maxInFlight));
    }

    List<Outcome> run(List<Arrival> arrivals) {
      for (int step = 0; sequences.size() < arrivals.size() || scheduler.hasWork(); step++) {
        while (sequences.size() < arrivals.size()
            && arrivals.get(sequences.size()).step() <= step) {
          arrive(arrivals.get(sequences.size()));
        }
        step(arrivals);
      }
      while (!pipeline.isEmpty()) {
        complete();
      }
      assertThat(scheduler.numFreeBlocks()).isEqualTo(CONFIG.numBlocks());
      List<Outcome> outcomes = new ArrayList<>();
      for (Sequence sequence : sequences) {
        List<Integer> tokens = new ArrayList<>();
        for (int i = 0; i < sequence.numOutputTokens(); i++) {
          tokens.add(sequence.token(sequence.numPromptTokens() + i));
        }
        List<Float> scores = logprobs.get(outcomes.size());
        FinishReason reason = requireNonNull(sequence.finishReason());
        outcomes.add(new Outcome(reason, tokens, scores));
      }
      return outcomes;
    }

    private void arrive(Arrival arrival) {
      Sequence sequence =
          new Sequence(arrival.prompt(), arrival.params(), arrival.seed(), eos, MAX_LEN, null);
      sequences.add(sequence);
      logprobs.add(new ArrayList<>());
      scheduler.add(sequence);
    }

    private void step(List<Arrival> arrivals) {
      for (int i = 0; i < sequences.size(); i++) {
        if (sequences.get(i).numOutputTokens() >= arrivals.get(i).abortAt()) {
          scheduler.abort(sequences.get(i));
        }
      }
      int inFlight = 0;
      while (pipeline.schedule() != null) {
        pipeline.submit();
        inFlight++;
      }
      mostInFlight = Math.max(mostInFlight, inFlight);
      if (!pipeline.isEmpty()) {
        complete();
      }
    }

    private void complete() {
      ScheduledBatch batch = pipeline.oldest();
      StepOutput output = pipeline.await();
      for (int r = 0; r < batch.numLogitRows; r++) {
        Sequence sequence = batch.sequences.get(batch.logitSequence[r]);
        if (sequence.status() != Sequence.Status.FINISHED) {
          keep(output, r, batch.numLogprobs[r], logprobs.get(sequences.indexOf(sequence)));
        }
      }
      scheduler.update(batch, output.tokens);
    }

    private static void keep(StepOutput output, int row, int numLogprobs, List<Float> to) {
      if (numLogprobs >= 0) {
        to.add(output.logprobs[row]);
      }
      for (int i = 0; i < numLogprobs; i++) {
        to.add((float) output.topTokens[row * output.topN + i]);
        to.add(output.topLogprobs[row * output.topN + i]);
      }
    }
  }

  @ParameterizedTest(name = "seed {0}")
  @ValueSource(longs = {1, 2, 3, 4, 5, 6, 7, 8})
  void aSequenceComesOutAsWithOneStepAtATime(long seed) {
    List<Arrival> arrivals = traffic(seed);
    List<Outcome> expected = new Run(1).run(arrivals);
    Run ahead = new Run(2);
    List<Outcome> found = ahead.run(arrivals);
    for (int i = 0; i < arrivals.size(); i++) {
      assertThat(found.get(i)).as("seed %d, sequence %d", seed, i).isEqualTo(expected.get(i));
    }
    assertThat(ahead.scheduler.numPreemptions()).isPositive();
    assertThat(ahead.mostInFlight).isEqualTo(2);
    Set<FinishReason> reasons = EnumSet.noneOf(FinishReason.class);
    found.forEach(outcome -> reasons.add(outcome.reason()));
    assertThat(reasons).containsExactlyInAnyOrder(FinishReason.values());
  }

  @Tag("fresh-jvm")
  @ParameterizedTest
  @ValueSource(ints = {1, 2})
  void stepsAllocateNothingOnceWarm(int maxInFlight) {
    ThreadMXBean threads = (ThreadMXBean) ManagementFactory.getThreadMXBean();
    long least = Long.MAX_VALUE;
    long end =
        System.nanoTime() + Duration.ofSeconds(30).toNanos(); // the compiler is not in a hurry
    while (least > maxBytesPerStep() && System.nanoTime() < end) {
      least = Math.min(least, bytesPerStep(maxInFlight, threads));
    }
    assertThat(least).isLessThanOrEqualTo(maxBytesPerStep());
  }

  private long bytesPerStep(int maxInFlight, ThreadMXBean threads) {
    Run run = new Run(maxInFlight);
    SamplingParams params =
        SamplingParams.builder().ignoreEos(true).maxTokens(60).temperature(1).logprobs(2).build();
    for (int i = 0; i < 2; i++) {
      Sequence sequence = new Sequence(new int[] {1, 2 + i}, params, i, new int[0], MAX_LEN, null);
      run.scheduler.add(sequence);
    }
    steps(run, 18); // beyond which the lists of tokens and blocks grow once
    long before = threads.getCurrentThreadAllocatedBytes();
    steps(run, 12);
    long bytes = threads.getCurrentThreadAllocatedBytes() - before;
    steps(run, Integer.MAX_VALUE);
    return bytes / 12;
  }

  private static void steps(Run run, int most) {
    for (int i = 0; i < most && (run.scheduler.hasWork() || !run.pipeline.isEmpty()); i++) {
      while (run.pipeline.schedule() != null) {
        run.pipeline.submit();
      }
      ScheduledBatch batch = run.pipeline.oldest();
      run.scheduler.update(batch, run.pipeline.await().tokens);
    }
  }

  @Test
  void onlyQueuedWorkIsRunAhead() {
    assertThat(model.maxInFlight()).isEqualTo(backend.isAsynchronous() ? 2 : 1);
  }
}
