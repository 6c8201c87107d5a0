package dev.gregale.engine;

import static org.assertj.core.api.Assertions.assertThat;

import dev.gregale.engine.GenerationEvent.Finished;
import dev.gregale.engine.GenerationEvent.PromptScored;
import dev.gregale.engine.GenerationEvent.Tokens;
import dev.gregale.sampling.FinishReason;
import dev.gregale.sampling.SamplingParamsBuilder;
import dev.gregale.scheduler.FakePagedModel;
import java.util.Arrays;
import java.util.List;
import java.util.Random;
import java.util.Set;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/** What a reader gets. */
@Timeout(30)
class EngineOutputTest extends EngineFixture {

  @Test
  void streamsTokensAndTextAndThenTheEnd() {
    List<GenerationEvent> events = all(start(), request(params(5).logprobs(2), 1, 2, 3));

    int[] expected = FakeModel.generates(new int[] {1, 2, 3}, 7, 5);
    assertThat(events).hasSize(6);
    assertThat(tokens(events, 0)).isEqualTo(expected);
    assertThat(text(events, 0)).isEqualTo(FakeModel.text(expected));
    assertThat(events.getLast()).isEqualTo(new Finished(0, FinishReason.LENGTH, 3, 0, 5));
    TokenLogprob first = ((Tokens) events.getFirst()).tokens().getFirst();
    assertThat(first.logprob())
        .isEqualTo(FakePagedModel.logprob(new int[] {1, 2, 3}, 3, expected[0]));
    assertThat(first.topTokenIds())
        .containsExactly(expected[0], (expected[0] + 1) % FakeModel.VOCAB);
    assertThat(first.topLogprobs()).containsExactly(first.logprob(), first.logprob() - 1);
    awaitAllFree();
    assertThat(counter("gregale.tokens.generation")).isEqualTo(5);
    assertThat(counter("gregale.tokens.prompt")).isEqualTo(3);
    assertThat(counter("gregale.requests.finished", "reason", "length")).isEqualTo(1);
    assertThat(registry.get("gregale.request.ttft").timer().count()).isEqualTo(1);
    assertThat(registry.get("gregale.request.itl").timer().count()).isEqualTo(4);
    assertThat(registry.get("gregale.request.queue").timer().count()).isEqualTo(1);
    assertThat(registry.get("gregale.engine.step").timer().count()).isEqualTo(5);
  }

  @Test
  void answersOfOneRequestDrawWithSeedsOfTheirOwn() {
    GenerationRequest request =
        new GenerationRequest(
            "n", List.of(new int[] {1}, new int[] {2, 3}), 3, params(6).build(), null, 0);
    List<GenerationEvent> events = all(start(), request);
    for (int i = 0; i < 6; i++) {
      int[] prompt = request.prompts().get(i / 3);
      assertThat(tokens(events, i)).isEqualTo(FakeModel.generates(prompt, 7 + i % 3, 6));
    }
    assertThat(events.stream().filter(Finished.class::isInstance)).hasSize(6);
  }

  @Test
  void withoutSeedAnswersDiffer() {
    AsyncLlmEngine engine = start();
    GenerationRequest request = request(params(10).seed(null), 1, 2);
    assertThat(tokens(all(engine, request), 0)).isNotEqualTo(tokens(all(engine, request), 0));
  }

  @Test
  void theStopTokenIsReportedButNotShown() {
    int[] tokens = FakeModel.generates(new int[] {4}, 7, 8);
    AsyncLlmEngine engine = start();
    SamplingParamsBuilder params = params(8).stopTokenIds(Set.of(tokens[3]));
    List<GenerationEvent> events = all(engine, request(params, 4));
    assertThat(tokens(events, 0)).isEqualTo(Arrays.copyOf(tokens, 4));
    assertThat(text(events, 0)).isEqualTo(FakeModel.text(Arrays.copyOf(tokens, 3)));
    assertThat(events.getLast()).isEqualTo(new Finished(0, FinishReason.STOP, 1, 0, 4));

    params.includeStopStrInOutput(true);
    assertThat(text(all(engine, request(params, 4)), 0))
        .isEqualTo(FakeModel.text(Arrays.copyOf(tokens, 4)));
  }

  @Test
  void aStopStringEndsTheTextAndTheSequence() {
    int[] tokens = FakeModel.generates(new int[] {4}, 7, 60);
    String stop = tokens[2] + "][" + tokens[3];
    AsyncLlmEngine engine = start();
    List<GenerationEvent> events = all(engine, request(params(60).stop(List.of(stop)), 4));
    assertThat(text(events, 0)).isEqualTo(FakeModel.text(tokens[0], tokens[1]) + "[");
    assertThat(tokens(events, 0)).isEqualTo(Arrays.copyOf(tokens, 4));
    assertThat(events.getLast()).isEqualTo(new Finished(0, FinishReason.STOP, 1, 0, 4));
    awaitAllFree();
    assertThat(model.steps.get()).as("goes on after the match").isLessThan(40);
    assertThat(counter("gregale.requests.finished", "reason", "stop")).isEqualTo(1);
    assertThat(counter("gregale.requests.finished", "reason", "abort")).isZero();
  }

  @Test
  void textHeldBackForAStopStringComesWithTheEnd() {
    int[] tokens = FakeModel.generates(new int[] {4}, 7, 3);
    String almost = FakeModel.text(tokens) + "!";
    List<GenerationEvent> events = all(start(), request(params(3).stop(List.of(almost)), 4));
    assertThat(((Tokens) events.get(1)).text()).isEmpty();
    assertThat(text(events, 0)).isEqualTo(FakeModel.text(tokens));
    assertThat(events.getLast()).isEqualTo(new Finished(0, FinishReason.LENGTH, 1, 0, 3));
  }

  @Test
  void stopStringsWaitForMinTokens() {
    int[] tokens = FakeModel.generates(new int[] {4}, 7, 6);
    SamplingParamsBuilder params = params(6).minTokens(3).stop(List.of("]"));
    List<GenerationEvent> events = all(start(), request(params, 4));
    assertThat(events.getLast()).isEqualTo(new Finished(0, FinishReason.STOP, 1, 0, 4));
    assertThat(text(events, 0))
        .isEqualTo(FakeModel.text(Arrays.copyOf(tokens, 3)) + "[" + tokens[3]);
  }

  @ParameterizedTest
  @ValueSource(ints = {1, 2, 90})
  void scoresThePromptBeforeAnyToken(int promptLength) {
    int[] prompt = new Random(1).ints(promptLength, 0, FakeModel.VOCAB).toArray();
    AsyncLlmEngine engine = start();
    for (int maxTokens : new int[] {0, 2}) {
      List<GenerationEvent> events =
          all(engine, request(params(maxTokens).promptLogprobs(1), prompt));
      List<TokenLogprob> scores = ((PromptScored) events.getFirst()).tokens();
      assertThat(scores.stream().mapToInt(TokenLogprob::tokenId)).containsExactly(box(prompt));
      assertThat(scores.getFirst().logprob()).isNaN();
      for (int t = 1; t < promptLength; t++) {
        assertThat(scores.get(t).logprob()).isEqualTo(FakePagedModel.logprob(prompt, t, prompt[t]));
        assertThat(scores.get(t).topTokenIds()).containsExactly(prompt[t]);
      }
      assertThat(events).hasSize(2 + maxTokens);
      assertThat(events.getLast())
          .isEqualTo(new Finished(0, FinishReason.LENGTH, promptLength, 0, maxTokens));
    }
  }

  private static Integer[] box(int[] values) {
    return Arrays.stream(values).boxed().toArray(Integer[]::new);
  }

  @Test
  void withoutTokenizerThereIsNoText() {
    texts = TextStreamFactory.none();
    List<GenerationEvent> events = all(start(), request(params(5).stop(List.of("x")), 1));
    assertThat(text(events, 0)).isEmpty();
    assertThat(tokens(events, 0)).hasSize(5);
  }
}
