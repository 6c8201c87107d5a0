package dev.gregale.engine;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.awaitility.Awaitility.await;

import dev.gregale.engine.GenerationEvent.Finished;
import dev.gregale.sampling.FinishReason;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.Semaphore;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;

/** Before the start, and after the end has begun. */
@Timeout(30)
class EngineStartAndEndTest extends EngineFixture {

  @Test
  void takesNothingBeforeItsStart() {
    ServedModel served = new ServedModel("fake", 1, FakeModel.VOCAB, new int[0], FakeModel.ROUTING);
    AsyncLlmEngine loading = new AsyncLlmEngine(served, limits, List.of(model), texts, registry);
    assertThat(loading.state()).isEqualTo(EngineState.LOADING);
    assertThatThrownBy(() -> all(loading, request(params(5), 1)))
        .isInstanceOf(EngineUnavailableException.class)
        .hasMessageContaining("loaded");
    loading.close();
  }

  @Test
  void closeLetsRequestsFinish() {
    use(limits(1, 40, 3));
    model.permits = new Semaphore(1);
    AsyncLlmEngine engine = start();
    List<Answer> admitted = new ArrayList<>();
    for (int i = 0; i < 3; i++) {
      admitted.add(send(engine, request(params(20), i)));
    }
    await().atMost(SOON).until(() -> model.steps.get() == 2);
    CompletableFuture<Void> closed = CompletableFuture.runAsync(engine::close);
    await().atMost(SOON).until(() -> engine.state() == EngineState.DRAINING);
    assertThatThrownBy(() -> all(engine, request(params(5), 1)))
        .isInstanceOf(EngineUnavailableException.class)
        .hasMessageContaining("shutting down");
    model.permits.release(1_000);
    closed.join();
    for (int i = 0; i < 3; i++) {
      List<GenerationEvent> events = admitted.get(i).join();
      assertThat(events.getLast()).isEqualTo(new Finished(0, FinishReason.LENGTH, 1, 0, 20));
    }
    assertThat(engine.state()).isEqualTo(EngineState.DRAINING);
    engine.close();
  }

  @Test
  void closeAbortsWhatIsNotDoneInTime() throws InterruptedException {
    use(limits(1, 40, 3));
    model.permits = new Semaphore(3);
    AsyncLlmEngine engine = start();
    GenerationRequest three =
        new GenerationRequest("three", List.of(new int[] {1}), 3, params(100).build(), null, 0);
    Answer running = send(engine, three);
    await().atMost(SOON).until(() -> model.steps.get() == 4);
    Duration time = Duration.ofMillis(50);
    Thread closing = Thread.ofPlatform().start(() -> engine.close(time));
    await().atMost(SOON).until(() -> closing.getState() == Thread.State.TIMED_WAITING);
    long end = System.nanoTime() + time.toNanos();
    await().atMost(SOON).until(() -> System.nanoTime() - end > 0);
    model.permits.release(1_000); // only now does the step end
    closing.join();
    List<GenerationEvent> events = running.join();
    List<Finished> ends =
        events.stream().filter(Finished.class::isInstance).map(Finished.class::cast).toList();
    assertThat(ends).extracting(Finished::index).containsExactlyInAnyOrder(0, 1, 2);
    assertThat(ends).allMatch(e -> e.reason() == FinishReason.ABORT);
    assertThat(tokens(events, 0))
        .isEqualTo(
            Arrays.copyOf(FakeModel.generates(new int[] {1}, 7, 100), tokens(events, 0).length))
        .isNotEmpty();
    awaitAllFree();
    assertThat(counter("gregale.requests.finished", "reason", "abort")).isEqualTo(3);
  }
}
