package dev.gregale.engine;

import static java.util.Objects.requireNonNull;
import static org.assertj.core.api.Assertions.assertThat;
import static org.awaitility.Awaitility.await;

import dev.gregale.engine.GenerationEvent.Tokens;
import dev.gregale.sampling.SamplingParams;
import dev.gregale.sampling.SamplingParamsBuilder;
import io.micrometer.core.instrument.simple.SimpleMeterRegistry;
import java.time.Duration;
import java.util.List;
import java.util.concurrent.CompletableFuture;
import java.util.stream.Stream;
import org.jspecify.annotations.Nullable;
import org.junit.jupiter.api.AfterEach;

/** An engine over a {@link FakeModel}, closed after each test. */
abstract class EngineFixture {
  static final int EOS = FakeModel.VOCAB - 1;
  static final Duration SOON = Duration.ofSeconds(10);
  static final int BUFFER = 64;

  final SimpleMeterRegistry registry = new SimpleMeterRegistry();
  EngineLimits limits = limits(4, 40, 3);
  FakeModel model = new FakeModel(limits, maxInFlight());
  TextStreamFactory texts = FakeModel.texts();
  @Nullable AsyncLlmEngine engine;

  static EngineLimits limits(int seqs, int blocks, int queued) {
    return limits(seqs, blocks, queued, SchedulingPolicy.FCFS);
  }

  static EngineLimits limits(int seqs, int blocks, int queued, SchedulingPolicy policy) {
    Duration drain = Duration.ofSeconds(5);
    return new EngineLimits(
        seqs, 32, 120, 4, blocks, 16, queued, 8, 10_000, BUFFER, true, policy, drain);
  }

  /** Steps that the model may have under way at once. */
  int maxInFlight() {
    return 1;
  }

  AsyncLlmEngine start() {
    return start(List.of(model));
  }

  AsyncLlmEngine start(List<FakeModel> replicas) {
    ServedModel served =
        new ServedModel("fake", 1, FakeModel.VOCAB, new int[] {EOS}, FakeModel.ROUTING);
    AsyncLlmEngine started = new AsyncLlmEngine(served, limits, replicas, texts, registry);
    started.start();
    engine = started;
    return started;
  }

  void use(EngineLimits other) {
    limits = other;
    model = new FakeModel(limits, maxInFlight());
  }

  @AfterEach
  void close() {
    if (model.permits != null) {
      model.permits.release(1_000_000);
    }
    if (engine != null) {
      engine.close(Duration.ZERO);
    }
  }

  static SamplingParamsBuilder params(int maxTokens) {
    return SamplingParams.builder().maxTokens(maxTokens).seed(7L).ignoreEos(true);
  }

  static GenerationRequest request(SamplingParamsBuilder params, int... prompt) {
    return new GenerationRequest("test", List.of(prompt), 1, params.build(), null, 0);
  }

  /** An answer under way. */
  record Answer(CompletableFuture<@Nullable List<GenerationEvent>> future) {
    List<GenerationEvent> join() {
      return requireNonNull(future.join());
    }
  }

  static Answer send(AsyncLlmEngine engine, GenerationRequest request) {
    return new Answer(engine.generate(request).collectList().toFuture());
  }

  static List<GenerationEvent> all(AsyncLlmEngine engine, GenerationRequest request) {
    return engine.generate(request).collectList().blockOptional(SOON).orElseThrow();
  }

  static int[] tokens(List<GenerationEvent> events, int index) {
    return events.stream()
        .filter(e -> e.index() == index)
        .flatMap(e -> e instanceof Tokens t ? t.tokens().stream() : Stream.empty())
        .mapToInt(TokenLogprob::tokenId)
        .toArray();
  }

  static String text(List<GenerationEvent> events, int index) {
    StringBuilder text = new StringBuilder();
    for (GenerationEvent event : events) {
      if (event instanceof Tokens t && t.index() == index) {
        text.append(t.text());
      }
    }
    return text.toString();
  }

  double gauge(String name) {
    return registry.get(name).gauge().value();
  }

  double counter(String name, String... tags) {
    return registry.get(name).tags(tags).counter().count();
  }

  void awaitAllFree() {
    await()
        .atMost(SOON)
        .untilAsserted(
            () -> {
              assertThat(gauge("gregale.kv.blocks.free")).isEqualTo(limits.numBlocks());
              assertThat(gauge("gregale.requests.running")).isZero();
              assertThat(gauge("gregale.requests.waiting")).isZero();
            });
  }
}
