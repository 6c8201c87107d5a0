package dev.gregale.engine;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.awaitility.Awaitility.await;

import dev.gregale.backend.BackendException;
import dev.gregale.engine.GenerationEvent.Finished;
import dev.gregale.scheduler.ScheduledBatch;
import java.lang.management.ManagementFactory;
import java.lang.ref.WeakReference;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.List;
import java.util.concurrent.Semaphore;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/** Failures, and what an idle engine does and keeps. */
@Timeout(30)
class EngineLifeTest extends EngineFixture {

  @Test
  void aFailedStepCostsOnlyTheRequestsInIt() {
    use(limits(1, 40, 3));
    model.permits = new Semaphore(0);
    AsyncLlmEngine engine = start();
    failStepsHolding(13);
    Answer poisoned = send(engine, request(params(5), 13));
    Answer next = send(engine, request(params(5), 2));
    model.permits.release(100);
    assertThatThrownBy(poisoned::join)
        .hasCauseInstanceOf(EngineUnavailableException.class)
        .hasMessageContaining("failed to compute")
        .hasMessageNotContaining("secret");
    assertThat(tokens(next.join(), 0)).isEqualTo(FakeModel.generates(new int[] {2}, 7, 5));
    for (int i = 0; i < 5; i++) { // again and again it is the request, not the model
      assertThatThrownBy(() -> all(engine, request(params(5), 13)))
          .isInstanceOf(EngineUnavailableException.class);
    }
    assertThat(engine.state()).isEqualTo(EngineState.SERVING);
    assertThat(counter("gregale.engine.step.failures")).isEqualTo(6);
    assertThat(counter("gregale.requests.finished", "reason", "error")).isEqualTo(6);
    awaitAllFree();
  }

  @Test
  void whatIsComputedIsKeptUntilAStepFailsOrDrawsNonsense() {
    AsyncLlmEngine engine = start();
    assertThat(cachedTokens(engine)).isZero();
    assertThat(cachedTokens(engine)).isEqualTo(4);
    failStepsHolding(13);
    assertThatThrownBy(() -> all(engine, request(params(5), 13)))
        .isInstanceOf(EngineUnavailableException.class);
    assertThat(cachedTokens(engine)).isZero();
    assertThat(cachedTokens(engine)).isEqualTo(4);
    model.onTokens = tokens -> tokens[0] = -1;
    assertThatThrownBy(() -> all(engine, request(params(5), 14)))
        .isInstanceOf(EngineUnavailableException.class);
    model.onTokens = tokens -> {};
    assertThat(cachedTokens(engine)).isZero();
    awaitAllFree();
    assertThat(counter("gregale.prefix.queries")).isEqualTo(5 * 6 + 2);
    assertThat(counter("gregale.prefix.hits")).isEqualTo(2 * 4);
  }

  /** Of a prompt of six, in blocks of four. */
  private static int cachedTokens(AsyncLlmEngine engine) {
    List<GenerationEvent> events = all(engine, request(params(2), 1, 2, 3, 4, 5, 6));
    return ((Finished) events.getLast()).cachedTokens();
  }

  private void failStepsHolding(int token) {
    model.onStep =
        batch -> {
          if (batch.tokenIds[0] == token) {
            throw new IllegalStateException("secret detail");
          }
        };
  }

  @Test
  void aModelThatFailsTheProbeTooHasFailed() {
    use(limits(1, 40, 3));
    model.permits = new Semaphore(0);
    AsyncLlmEngine engine = start();
    breakModel(new IllegalStateException("secret detail"));
    List<Answer> all = new ArrayList<>();
    for (int i = 0; i < 3; i++) {
      all.add(send(engine, request(params(5), i)));
    }
    model.permits.release(100);
    for (Answer one : all) {
      assertThatThrownBy(one::join)
          .hasCauseInstanceOf(EngineUnavailableException.class)
          .hasMessageNotContaining("secret");
    }
    assertThat(engine.state()).isEqualTo(EngineState.FAILED);
    assertThatThrownBy(() -> all(engine, request(params(5), 1)))
        .isInstanceOf(EngineUnavailableException.class);
    assertThat(counter("gregale.requests.rejected", "reason", "unavailable")).isEqualTo(1);
  }

  @Test
  void anErrorFailsTheEngineAtOnce() {
    AsyncLlmEngine engine = start();
    breakModel(new UnsatisfiedLinkError("no driver"));
    assertThatThrownBy(() -> all(engine, request(params(5), 1)))
        .isInstanceOf(EngineUnavailableException.class);
    assertThat(engine.state()).isEqualTo(EngineState.FAILED);
    assertThat(model.steps.get()).isEqualTo(1);
  }

  /** Readiness looks at the state, so it must not wait for anything. */
  @ParameterizedTest
  @ValueSource(booleans = {false, true})
  void anErrorOfTheDeviceFailsTheEngineAtOnce(boolean sticky) {
    use(limits(4, 40, 7));
    model.permits = new Semaphore(3);
    AsyncLlmEngine engine = start();
    List<Answer> all = new ArrayList<>();
    for (int i = 0; i < 7; i++) { // four run, three wait
      all.add(send(engine, request(params(50), i)));
    }
    await().atMost(SOON).until(() -> model.steps.get() == 4);
    BackendException error = new DeviceError(sticky);
    breakModel(error);
    model.permits.release(1);
    for (Answer one : all) {
      assertThatThrownBy(one::join)
          .hasCauseInstanceOf(EngineUnavailableException.class)
          .hasMessageNotContaining("secret");
    }
    assertThat(engine.state()).isEqualTo(EngineState.FAILED);
    assertThat(model.steps.get()).as("no probe").isEqualTo(4);
    assertThat(engine.failure().toCompletableFuture().join()).isSameAs(error);
    assertThatThrownBy(() -> all(engine, request(params(5), 1)))
        .isInstanceOf(EngineUnavailableException.class);
  }

  private static final class DeviceError extends BackendException {
    private static final long serialVersionUID = 1L;
    private final boolean sticky;

    DeviceError(boolean sticky) {
      super("secret detail");
      this.sticky = sticky;
    }

    @Override
    public boolean isSticky() {
      return sticky;
    }
  }

  private void breakModel(Throwable problem) {
    model.onStep =
        batch -> {
          switch (problem) {
            case RuntimeException e -> throw e;
            case Error e -> throw e;
            default -> throw new AssertionError(problem);
          }
        };
  }

  @Test
  void aTokenOutsideTheVocabularyCostsOnlyItsRequest() {
    AsyncLlmEngine engine = start();
    model.onStep = batch -> drawNonsenseFor(batch, 13);
    assertThatThrownBy(() -> all(engine, request(params(5), 13)))
        .isInstanceOf(EngineUnavailableException.class);
    assertThat(tokens(all(engine, request(params(5), 2)), 0)).hasSize(5);
    awaitAllFree();
  }

  private void drawNonsenseFor(ScheduledBatch batch, int token) {
    int drawn = batch.tokenIds[0] == token ? -1 : Integer.MAX_VALUE;
    model.onTokens = tokens -> tokens[0] = Math.min(tokens[0], drawn);
  }

  @Test
  void textThatCannotBeDecodedCostsOnlyItsRequest() {
    texts =
        (prompt, skip) -> {
          if (prompt[0] == 13) {
            throw new IllegalStateException("secret detail");
          }
          return FakeModel.texts().open(prompt, skip);
        };
    AsyncLlmEngine engine = start();
    Answer good = send(engine, request(params(30), 2));
    assertThatThrownBy(() -> all(engine, request(params(100), 13)))
        .isInstanceOf(EngineUnavailableException.class)
        .hasMessageNotContaining("secret");
    assertThat(tokens(good.join(), 0)).hasSize(30);
    awaitAllFree();
    assertThat(model.steps.get()).isLessThan(80);
  }

  @Test
  void sleepsWhileThereIsNothingToDo() {
    AsyncLlmEngine engine = start();
    all(engine, request(params(5), 1));
    awaitAllFree();
    Thread loop =
        Thread.getAllStackTraces().keySet().stream()
            .filter(t -> t.getName().equals("engine-loop") && t.isAlive())
            .max(Comparator.comparingLong(Thread::threadId))
            .orElseThrow();
    await().atMost(SOON).until(() -> loop.getState() == Thread.State.WAITING);
    long before = ManagementFactory.getThreadMXBean().getThreadCpuTime(loop.threadId());
    await()
        .during(Duration.ofMillis(200))
        .atMost(SOON)
        .until(
            () ->
                ManagementFactory.getThreadMXBean().getThreadCpuTime(loop.threadId()) - before
                    < Duration.ofMillis(20).toNanos());
    assertThat(tokens(all(engine, request(params(5), 1)), 0)).hasSize(5);
  }

  @Test
  void keepsNothingOfAFinishedRequest() {
    AsyncLlmEngine engine = start();
    List<WeakReference<int[]>> prompts = new ArrayList<>();
    for (int i = 0; i < 20; i++) {
      int[] prompt = {i, i + 1};
      prompts.add(new WeakReference<>(prompt));
      if (i % 2 == 0) {
        all(engine, request(params(5).promptLogprobs(1).repetitionPenalty(1.5f), prompt));
      } else {
        engine.generate(request(params(100), prompt)).take(3).blockLast(SOON);
      }
    }
    awaitAllFree();
    await()
        .atMost(SOON)
        .untilAsserted(
            () -> {
              System.gc();
              assertThat(prompts).allMatch(p -> p.refersTo(null));
            });
  }
}
