package dev.gregale.web;

import dev.gregale.engine.EngineInfo;
import dev.gregale.engine.GenerationEvent;
import dev.gregale.engine.GenerationRequest;
import dev.gregale.engine.LlmEngine;
import dev.gregale.engine.RoutingShape;
import dev.gregale.engine.SchedulingPolicy;
import dev.gregale.engine.TokenLogprob;
import dev.gregale.sampling.FinishReason;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.BlockingQueue;
import java.util.concurrent.LinkedBlockingQueue;
import java.util.function.Function;
import reactor.core.publisher.Flux;

/** An engine that answers as a test tells it to. */
final class StubEngine implements LlmEngine {
  static final EngineInfo INFO =
      new EngineInfo(
          "stub",
          1_700_000_000,
          320,
          64,
          16,
          400,
          SchedulingPolicy.FCFS,
          new RoutingShape(3, 8, 2));

  /** What was asked for, in order. */
  final BlockingQueue<GenerationRequest> requests = new LinkedBlockingQueue<>();

  /** What it says of itself. */
  volatile EngineInfo info = INFO;

  volatile Function<GenerationRequest, Flux<GenerationEvent>> answer = StubEngine::ramble;

  @Override
  public Flux<GenerationEvent> generate(GenerationRequest request) {
    requests.add(request);
    return answer.apply(request);
  }

  @Override
  public EngineInfo info() {
    return info;
  }

  /** Every sequence says " time" max_tokens times; all of the prompt but a token was cached. */
  static Flux<GenerationEvent> ramble(GenerationRequest request) {
    List<GenerationEvent> events = new ArrayList<>();
    int maxTokens = request.params().maxTokens();
    for (int i = 0; i < request.numSequences(); i++) {
      int[] prompt = request.prompts().get(i / request.n());
      if (request.params().promptLogprobs() >= 0) {
        List<TokenLogprob> scores = new ArrayList<>();
        for (int id : prompt) {
          scores.add(token(id, scores.isEmpty() ? Float.NaN : -0.5f));
        }
        events.add(new GenerationEvent.PromptScored(i, scores));
      }
      for (int t = 0; t < maxTokens; t++) {
        if (request.params().returnRoutedExperts()) {
          events.add(new GenerationEvent.Routed(i, experts(t == 0 ? prompt.length : 1)));
        }
        events.add(
            new GenerationEvent.Tokens(
                i, " time", List.of(token(StubTokenizer.word("▁time"), -0.25f))));
      }
      events.add(
          new GenerationEvent.Finished(
              i, FinishReason.LENGTH, prompt.length, prompt.length - 1, maxTokens));
    }
    return Flux.fromIterable(events);
  }

  /** Some for each of so many tokens. */
  private static short[] experts(int tokens) {
    short[] ids = new short[tokens * INFO.routing().idsPerToken()];
    for (int i = 0; i < ids.length; i++) {
      ids[i] = (short) (i % INFO.routing().numExperts());
    }
    return ids;
  }

  static TokenLogprob token(int id, float logprob) {
    return new TokenLogprob(id, logprob, new int[0], new float[0]);
  }

  static TokenLogprob token(int id, float logprob, int otherId, float otherLogprob) {
    return new TokenLogprob(
        id, logprob, new int[] {otherId, id}, new float[] {otherLogprob, logprob});
  }
}
