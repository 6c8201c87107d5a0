package dev.gregale.engine;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.awaitility.Awaitility.await;

import dev.gregale.sampling.BeamSearchParams;
import dev.gregale.sampling.FinishReason;
import java.time.Duration;
import java.util.List;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.Semaphore;
import org.junit.jupiter.api.Test;
import reactor.core.Disposable;

/** A beam search is many requests to the loop, but one to everybody else. */
class BeamSearchEngineTest extends EngineFixture {
  private static final int TOKENS = 5;

  private static GenerationRequest search(int width, int maxTokens, int... prompt) {
    return request(params(maxTokens).beamSearch(new BeamSearchParams(width, 1)), prompt);
  }

  private static void assertFound(List<GenerationEvent> events) {
    assertThat(tokens(events, 0)).hasSize(TOKENS);
    GenerationEvent.Finished end = (GenerationEvent.Finished) events.getLast();
    assertThat(end.reason()).isEqualTo(FinishReason.LENGTH);
    assertThat(end.completionTokens()).isEqualTo(TOKENS);
  }

  @Test
  void aSearchThatIsInFinishesWhileTheEngineDrains() {
    model.permits = new Semaphore(0);
    AsyncLlmEngine engine = start();
    Answer answer = send(engine, search(2, TOKENS, 3));
    model.permits.release(2);
    await().atMost(SOON).until(() -> model.steps.get() == 3); // in the middle of a round
    CompletableFuture<Void> closed = CompletableFuture.runAsync(() -> engine.close(SOON));
    await().atMost(SOON).until(() -> engine.state() == EngineState.DRAINING);
    assertThatThrownBy(() -> all(engine, search(2, TOKENS, 3)))
        .isInstanceOf(EngineUnavailableException.class);
    model.permits.release(1000);
    assertFound(answer.join());
    closed.join();
  }

  @Test
  void atTheDrainDeadlineASearchFails() {
    Semaphore permits = new Semaphore(0);
    model.permits = permits;
    AsyncLlmEngine engine = start();
    Answer answer = send(engine, search(2, 50, 3));
    await().atMost(SOON).until(() -> model.steps.get() == 1);
    CompletableFuture<Void> closed = CompletableFuture.runAsync(() -> engine.close(Duration.ZERO));
    await()
        .atMost(SOON)
        .until(
            () -> {
              permits.release();
              return answer.future().isDone();
            });
    assertThatThrownBy(answer::join).hasCauseInstanceOf(EngineUnavailableException.class);
    closed.join();
  }

  @Test
  void searchesAreRefusedBeyondWhatCanRun() {
    model.permits = new Semaphore(0);
    AsyncLlmEngine engine = start();
    Answer first = send(engine, search(3, TOKENS, 3));
    assertThatThrownBy(() -> all(engine, search(2, TOKENS, 4)))
        .isInstanceOf(EngineOverloadedException.class)
        .hasMessageContaining("3 beams are running, and 2 more are too many");
    assertThat(counter("gregale.requests.rejected", "reason", "overloaded")).isEqualTo(1);
    Answer small = send(engine, search(1, TOKENS, 4));
    model.permits.release(1000);
    assertFound(first.join());
    assertFound(small.join());
    assertFound(all(engine, search(4, TOKENS, 4)));
    awaitAllFree();
  }

  @Test
  void aCancelledSearchEndsAllItsRounds() {
    AsyncLlmEngine engine = start();
    Disposable subscription = engine.generate(search(4, 100, 3)).subscribe();
    await().atMost(SOON).until(() -> model.steps.get() > 10);
    subscription.dispose();
    awaitAllFree();
    assertFound(all(engine, search(4, TOKENS, 4))); // the place in the engine is free again
    int steps = model.steps.get();
    assertFound(all(engine, search(1, TOKENS, 5)));
    assertThat(model.steps.get()).isEqualTo(steps + TOKENS); // and nobody else steps
  }

  @Test
  void aFailedRoundFailsTheSearch() {
    AsyncLlmEngine engine = start();
    model.onStep =
        batch -> {
          if (batch.numSeqs() == 3) {
            throw new IllegalStateException("secret detail");
          }
        };
    assertThatThrownBy(() -> all(engine, search(3, TOKENS, 3)))
        .isInstanceOf(EngineUnavailableException.class)
        .hasMessageNotContaining("secret");
    model.onStep = batch -> {};
    assertFound(all(engine, search(3, TOKENS, 3)));
    awaitAllFree();
  }

  @Test
  void aSearchThatCannotBeIsRefused() {
    AsyncLlmEngine engine = start();
    assertThatThrownBy(() -> all(engine, search(0, TOKENS, 3)))
        .hasMessage("the beam width is 0, but must be from n (1) to 10");
    assertThatThrownBy(() -> all(engine, search(9, TOKENS, 3)))
        .hasMessageContaining("at most 8 are allowed");
    assertThatThrownBy(
            () ->
                all(
                    engine,
                    request(params(5).beamSearch(new BeamSearchParams(2, 1)).minTokens(1), 3)))
        .hasMessage("min_tokens does not go with beam search");
    awaitAllFree();
  }
}
