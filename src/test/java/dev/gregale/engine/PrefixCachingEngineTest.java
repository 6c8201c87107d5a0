package dev.gregale.engine;

import static java.util.Objects.requireNonNull;
import static org.assertj.core.api.Assertions.assertThat;

import dev.gregale.backend.Backend;
import dev.gregale.backend.cpu.CpuBackend;
import dev.gregale.engine.GenerationEvent.Finished;
import dev.gregale.engine.GenerationEvent.PromptScored;
import dev.gregale.engine.GenerationEvent.Tokens;
import dev.gregale.model.KvCache;
import dev.gregale.model.LoadFormat;
import dev.gregale.model.MixtralConfig;
import dev.gregale.model.ModelLoader;
import dev.gregale.model.ModelRunner;
import dev.gregale.model.Precision;
import dev.gregale.sampling.SamplingParams;
import dev.gregale.sampling.SamplingParamsBuilder;
import io.micrometer.core.instrument.simple.SimpleMeterRegistry;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.Random;
import java.util.Set;
import java.util.concurrent.CompletableFuture;
import java.util.stream.IntStream;
import org.jspecify.annotations.Nullable;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Nested;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.TestInstance;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

/** Engine and model: with prefix caching every answer has the same bits as without. */
@Timeout(120)
class PrefixCachingEngineTest {

  @Nested
  class Demo extends Model {
    Demo() {
      super(Path.of("src/main/resources/models/fairytale-moe-7m"));
    }
  }

  /** A window of 16 positions, which is less than most of the prefixes. */
  @Nested
  class SlidingWindow extends Model {
    SlidingWindow() {
      super(Path.of("src/test/resources/golden/random/odd1/hf"));
    }
  }

  /** One model's tests. */
  @TestInstance(TestInstance.Lifecycle.PER_CLASS)
  abstract static class Model {
    private static final int MAX_LEN = 96;
    private static final int REQUESTS = 40;

    private final Path path;
    private Backend backend;
    private int vocabSize;
    private RoutingShape routing;
    private ModelRunner model;

    Model(Path path) {
      this.path = path;
    }

    /** Too few blocks for six sequences. */
    private static EngineLimits limits(boolean caching) {
      return new EngineLimits(
          6,
          48,
          MAX_LEN,
          8,
          30,
          48,
          1_000,
          8,
          10_000,
          1_024,
          caching,
          SchedulingPolicy.FCFS,
          Duration.ofSeconds(5));
    }

    @BeforeAll
    void load() {
      backend = CpuBackend.create(1);
      EngineLimits limits = limits(true);
      try (ModelLoader loader = ModelLoader.open(path, LoadFormat.AUTO, Precision.AS_STORED)) {
        MixtralConfig config = loader.config();
        vocabSize = config.vocabSize();
        routing =
            new RoutingShape(
                config.numHiddenLayers(), config.numLocalExperts(), config.numExpertsPerTok());
        model =
            new ModelRunner(
                backend,
                backend.kernels(),
                config,
                loader.upload(backend, MAX_LEN, layer -> {}),
                KvCache.allocate(
                    backend,
                    config,
                    limits.numBlocks(),
                    limits.blockSize(),
                    backend.kvCacheDType()),
                limits.maxNumBatchedTokens(),
                limits.maxNumSeqs(),
                limits.maxLogitRows(),
                limits.scheduler().maxBlocksPerSeq(),
                SamplingParams.MAX_LOGPROBS);
      }
    }

    @AfterAll
    void close() {
      backend.close();
    }

    /** A request, and after how many events its reader leaves. */
    private record Ask(GenerationRequest request, int events) {}

    private List<Ask> traffic(Random random) {
      List<int[]> texts = new ArrayList<>();
      List<Ask> asks = new ArrayList<>();
      for (int i = 0; i < REQUESTS; i++) {
        int[] prompt = tokens(random, 1 + random.nextInt(70));
        if (!texts.isEmpty() && random.nextInt(5) > 0) { // begins like another one
          int[] other = texts.get(random.nextInt(texts.size()));
          int shared = Math.min(prompt.length, 1 + random.nextInt(other.length));
          System.arraycopy(other, 0, prompt, 0, shared);
        }
        if (texts.size() < 4) {
          texts.add(prompt);
        }
        boolean leaves = random.nextInt(5) == 0;
        int n = leaves ? 1 : 1 + random.nextInt(2);
        @Nullable String salt = random.nextInt(3) == 0 ? "key " + random.nextInt(2) : null;
        asks.add(
            new Ask(
                new GenerationRequest("r" + i, List.of(prompt), n, params(random), salt, 0),
                leaves ? 1 + random.nextInt(8) : Integer.MAX_VALUE));
      }
      return asks;
    }

    private int[] tokens(Random random, int length) {
      return random.ints(length, 0, vocabSize).toArray();
    }

    private SamplingParams params(Random random) {
      SamplingParamsBuilder params =
          SamplingParams.builder()
              .maxTokens(random.nextInt(8) == 0 ? 0 : 1 + random.nextInt(25))
              .seed(random.nextLong())
              .temperature(random.nextInt(3) == 0 ? 0 : 1)
              .minTokens(random.nextInt(3) == 0 ? 5 : 0)
              .logprobs(random.nextInt(3))
              .promptLogprobs(random.nextInt(5) == 0 ? 1 : -1);
      switch (random.nextInt(10)) {
        case 0 -> params.repetitionPenalty(1.3f);
        case 1 -> params.noRepeatNgramSize(2);
        case 2 -> params.logitBias(Map.of(random.nextInt(vocabSize), 5f));
        case 3 -> params.stopTokenIds(Set.of(random.nextInt(vocabSize)));
        default -> {}
      }
      return params.build();
    }

    /** What a traffic came to: what each reader read, sequence by sequence, and the counters. */
    private record Outcome(List<List<String>> read, double preemptions, double hits) {}

    private Outcome run(List<Ask> asks, boolean caching, int maxInFlight) {
      SimpleMeterRegistry registry = new SimpleMeterRegistry();
      ServedModel served = new ServedModel("model", 1, vocabSize, new int[] {2}, routing);
      try (AsyncLlmEngine engine =
          new AsyncLlmEngine(
              served,
              limits(caching),
              List.of(new InFlight(model, maxInFlight)),
              TextStreamFactory.none(),
              registry)) {
        engine.start();
        List<CompletableFuture<@Nullable List<GenerationEvent>>> answers = new ArrayList<>();
        for (Ask ask : asks) {
          answers.add(engine.generate(ask.request()).take(ask.events()).collectList().toFuture());
        }
        List<List<String>> read = new ArrayList<>();
        for (int i = 0; i < answers.size(); i++) {
          read.add(read(asks.get(i), requireNonNull(answers.get(i).join()), caching));
        }
        engine.close(Duration.ofSeconds(5));
        assertThat(registry.get("gregale.kv.blocks.free").gauge().value())
            .isEqualTo(limits(caching).numBlocks());
        return new Outcome(
            read,
            registry.get("gregale.preemptions").counter().count(),
            registry.get("gregale.prefix.hits").counter().count());
      }
    }

    private static List<String> read(Ask ask, List<GenerationEvent> events, boolean caching) {
      List<String> read = new ArrayList<>();
      for (int i = 0; i < ask.request().n(); i++) {
        StringBuilder text = new StringBuilder();
        for (GenerationEvent event : events) {
          if (event.index() == i) {
            text.append(
                switch (event) {
                  case PromptScored scored -> "prompt " + bits(scored.tokens());
                  case GenerationEvent.Routed routed -> throw new AssertionError("not asked for");
                  case Tokens tokens -> bits(tokens.tokens());
                  case Finished f -> {
                    assertThat(f.cachedTokens() == 0 || caching).isTrue();
                    assertThat(f.cachedTokens()).isLessThan(f.promptTokens());
                    yield f.reason() + " " + f.promptTokens() + " " + f.completionTokens();
                  }
                });
          }
        }
        read.add(text.toString());
      }
      return read;
    }

    private static String bits(List<TokenLogprob> tokens) {
      StringBuilder text = new StringBuilder();
      for (TokenLogprob token : tokens) {
        text.append(token.tokenId()).append(' ');
        text.append(Float.floatToIntBits(token.logprob())).append(' ');
        text.append(Arrays.toString(token.topTokenIds()));
        IntStream.range(0, token.topLogprobs().length)
            .forEach(k -> text.append(Float.floatToIntBits(token.topLogprobs()[k])).append(' '));
      }
      return text.append("; ").toString();
    }

    @ParameterizedTest(name = "seed {0}, {1} in flight")
    @CsvSource({"1, 1", "2, 2", "3, 1", "4, 2", "5, 2"})
    void answersHaveTheSameBits(long seed, int maxInFlight) {
      List<Ask> asks = traffic(new Random(seed));
      Outcome without = run(asks, false, 1);
      Outcome with = run(asks, true, maxInFlight);
      for (int i = 0; i < asks.size(); i++) {
        assertThat(with.read().get(i))
            .as("seed %d, %s", seed, asks.get(i))
            .isEqualTo(without.read().get(i));
      }
      assertThat(without.hits()).isZero();
      assertThat(without.preemptions()).isPositive();
      assertThat(with.hits()).isGreaterThan(100);
      assertThat(with.preemptions()).isPositive();
    }

    @Test
    void tellsWhatWasCachedAndKeepsKeysApart() {
      int[] prompt = tokens(new Random(9), 50);
      SamplingParams params = SamplingParams.builder().maxTokens(3).seed(1L).build();
      try (AsyncLlmEngine engine =
          new AsyncLlmEngine(
              new ServedModel("model", 1, vocabSize, new int[] {}, routing),
              limits(true),
              List.of(model),
              TextStreamFactory.none(),
              new SimpleMeterRegistry())) {
        engine.start();
        assertThat(cached(engine, params, prompt, "a")).isZero();
        assertThat(cached(engine, params, prompt, "a")).isEqualTo(48);
        assertThat(cached(engine, params, prompt, "b")).isZero();
        assertThat(cached(engine, params, prompt, null)).isZero();
        assertThat(cached(engine, params, prompt, null)).isEqualTo(48);
      }
    }

    private static int cached(
        AsyncLlmEngine engine, SamplingParams params, int[] prompt, @Nullable String salt) {
      GenerationRequest request = new GenerationRequest("r", List.of(prompt), 1, params, salt, 0);
      return ((Finished) requireNonNull(engine.generate(request).blockLast())).cachedTokens();
    }
  }
}
