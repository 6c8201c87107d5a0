package dev.gregale.engine;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.awaitility.Awaitility.await;

import dev.gregale.engine.GenerationEvent.Finished;
import java.util.ArrayList;
import java.util.List;
import java.util.Random;
import java.util.Set;
import java.util.concurrent.CopyOnWriteArrayList;
import java.util.concurrent.Semaphore;
import java.util.concurrent.atomic.AtomicReference;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;
import org.reactivestreams.Subscription;
import reactor.core.Disposable;
import reactor.core.publisher.BaseSubscriber;

/** Many requests at once, cancelled ones, too many. */
@Timeout(60)
class EngineTrafficTest extends EngineFixture {

  @ParameterizedTest
  @ValueSource(longs = {1, 2, 3})
  void everyStreamIsAsIfAloneWhateverItsNeighboursDo(long seed) {
    use(limits(6, 30, 100)); // 30 blocks: one sequence always fits, six do not
    AsyncLlmEngine engine = start();
    Random random = new Random(seed);
    List<Answer> whole = new ArrayList<>();
    List<int[]> expected = new ArrayList<>();
    List<Disposable> cancelled = new ArrayList<>();
    for (int i = 0; i < 50; i++) {
      int[] prompt = random.ints(1 + random.nextInt(60), 0, FakeModel.VOCAB).toArray();
      int maxTokens = 1 + random.nextInt(50);
      long drawSeed = random.nextLong();
      GenerationRequest request = request(params(maxTokens).seed(drawSeed), prompt);
      if (random.nextInt(3) == 0) {
        cancelled.add(cancelSomeTime(engine, request, random));
      } else {
        expected.add(FakeModel.generates(prompt, drawSeed, maxTokens));
        whole.add(send(engine, request));
      }
    }
    for (int i = 0; i < whole.size(); i++) {
      List<GenerationEvent> events = whole.get(i).join();
      assertThat(tokens(events, 0)).as("seed %d, request %d", seed, i).isEqualTo(expected.get(i));
      assertThat(events.stream().filter(Finished.class::isInstance)).hasSize(1);
      assertThat(events.getLast()).isInstanceOf(Finished.class);
    }
    cancelled.forEach(Disposable::dispose);
    awaitAllFree();
    assertThat(counter("gregale.preemptions")).isPositive();
    double ended =
        counter("gregale.requests.finished", "reason", "length")
            + counter("gregale.requests.finished", "reason", "abort");
    assertThat(ended).isEqualTo(50);
  }

  /** Cancels at once, after some events as a streaming reader, or later as a collecting one. */
  private static Disposable cancelSomeTime(
      AsyncLlmEngine engine, GenerationRequest request, Random random) {
    return switch (random.nextInt(3)) {
      case 0 -> {
        Disposable d = engine.generate(request).subscribe();
        d.dispose();
        yield d;
      }
      case 1 -> engine.generate(request).take(1 + random.nextInt(5)).subscribe();
      default -> engine.generate(request).collectList().subscribe();
    };
  }

  @ParameterizedTest
  @ValueSource(booleans = {true, false})
  void aCancelledRequestIsOutOfTheNextStep(boolean streaming) {
    model.permits = new Semaphore(2);
    CopyOnWriteArrayList<Integer> batchSizes = new CopyOnWriteArrayList<>();
    model.onStep = batch -> batchSizes.add(batch.numSeqs());
    AsyncLlmEngine engine = start();
    GenerationRequest request = request(params(100), 1, 2);
    Disposable reader =
        streaming
            ? engine.generate(request).subscribe()
            : engine.generate(request).collectList().subscribe();
    await().atMost(SOON).until(() -> model.steps.get() == 3); // the third waits for its permit
    Answer other = send(engine, request(params(2), 5));
    reader.dispose();
    model.permits.release(100);
    assertThat(tokens(other.join(), 0)).isEqualTo(FakeModel.generates(new int[] {5}, 7, 2));
    assertThat(batchSizes).hasSize(4 + maxInFlight()).containsOnly(1); // never both
    awaitAllFree();
    assertThat(counter("gregale.requests.cancelled", "cause", "client")).isEqualTo(1);
    assertThat(counter("gregale.requests.finished", "reason", "abort")).isEqualTo(1);
  }

  @Test
  void aRequestCancelledInTheQueueNeverRuns() {
    use(limits(1, 40, 3));
    model.permits = new Semaphore(0);
    AsyncLlmEngine engine = start();
    Answer first = send(engine, request(params(2), 1));
    await().atMost(SOON).until(() -> model.steps.get() == 1);
    engine.generate(request(params(50), 2)).subscribe().dispose();
    model.permits.release(100);
    first.join();
    awaitAllFree();
    assertThat(model.steps.get()).isEqualTo(2);
  }

  @Test
  void aFullQueueRefusesAndTakesAgainLater() {
    use(limits(2, 60, 3));
    AsyncLlmEngine engine = start();
    for (int round = 0; round < 3; round++) {
      Semaphore gate = new Semaphore(0);
      model.permits = gate;
      int stepsBefore = model.steps.get();
      List<Answer> admitted = new ArrayList<>();
      for (int i = 0; i < 2; i++) {
        admitted.add(send(engine, request(params(3), i)));
      }
      await().atMost(SOON).until(() -> model.steps.get() > stepsBefore);
      gate.release(1);
      await().atMost(SOON).until(() -> gauge("gregale.requests.running") == 2);
      for (int i = 0; i < 3; i++) {
        admitted.add(send(engine, request(params(3), i)));
      }
      assertThatThrownBy(() -> all(engine, request(params(3), 1)))
          .isInstanceOfSatisfying(
              EngineOverloadedException.class,
              e -> assertThat(e.retryAfterSeconds()).isBetween(1, 60))
          .hasMessageContaining("3 requests are waiting");
      assertThat(counter("gregale.requests.rejected", "reason", "overloaded")).isEqualTo(round + 1);
      gate.release(1_000);
      admitted.forEach(Answer::join);
      awaitAllFree();
    }
  }

  @Test
  void whatCanRunAtOnceIsTakenHoweverShortTheQueue() {
    use(limits(4, 40, 1));
    AsyncLlmEngine engine = start();
    for (int round = 0; round < 3; round++) {
      Semaphore gate = new Semaphore(0);
      model.permits = gate;
      int stepsBefore = model.steps.get();
      List<Answer> admitted = new ArrayList<>();
      admitted.add(send(engine, request(params(3), 1)));
      await().atMost(SOON).until(() -> model.steps.get() > stepsBefore);
      for (int i = 0; i < 3; i++) {
        admitted.add(send(engine, request(params(3), i)));
      }
      assertThatThrownBy(() -> all(engine, request(params(3), 1)))
          .isInstanceOf(EngineOverloadedException.class);
      gate.release(1_000);
      admitted.forEach(Answer::join);
      awaitAllFree();
    }
  }

  @Test
  void aRequestCancelledInTheQueueMakesRoom() {
    use(limits(1, 40, 1));
    Semaphore gate = new Semaphore(0);
    model.permits = gate;
    AsyncLlmEngine engine = start();
    Answer first = send(engine, request(params(20), 1));
    await().atMost(SOON).until(() -> model.steps.get() == 1);
    for (int i = 0; i < 5; i++) {
      Disposable queued = engine.generate(request(params(3), 2)).subscribe();
      assertThatThrownBy(() -> all(engine, request(params(3), 3)))
          .isInstanceOf(EngineOverloadedException.class);
      queued.dispose();
      int stepsBefore = model.steps.get();
      gate.release(1);
      await().atMost(SOON).until(() -> model.steps.get() > stepsBefore);
    }
    Answer last = send(engine, request(params(3), 3));
    gate.release(1_000);
    assertThat(tokens(first.join(), 0)).hasSize(20);
    assertThat(tokens(last.join(), 0)).hasSize(3);
  }

  @Test
  void refusesWhatWouldHarmTheEngine() {
    AsyncLlmEngine engine = start();
    assertInvalid(engine, request(params(3)), "no tokens");
    assertInvalid(engine, request(params(3), 1, FakeModel.VOCAB), "token id 500");
    assertInvalid(engine, request(params(3), -1), "token id -1");
    assertInvalid(engine, request(params(3), new int[120]), "leaves room for 119");
    assertInvalid(engine, request(params(-1), 1), "max_tokens is -1");
    assertInvalid(engine, request(params(3).logprobs(21), 1), "at most 20");
    assertInvalid(engine, request(params(3).stopTokenIds(Set.of(-5)), 1), "stop_token_ids");
    assertInvalid(
        engine,
        new GenerationRequest("many", List.of(new int[] {1}), 9, params(3).build(), null, 0),
        "at most 8");
    assertInvalid(
        engine,
        new GenerationRequest("none", List.of(), 1, params(3).build(), null, 0),
        "no prompt");
    assertThat(counter("gregale.requests.rejected", "reason", "invalid")).isEqualTo(9);
    assertThat(tokens(all(engine, request(params(3), 1)), 0)).hasSize(3);
  }

  private static void assertInvalid(
      AsyncLlmEngine engine, GenerationRequest request, String message) {
    assertThatThrownBy(() -> all(engine, request))
        .isInstanceOf(IllegalArgumentException.class)
        .hasMessageContaining(message);
  }

  @Test
  void aReaderThatStopsReadingIsDroppedAndHoldsUpNobody() {
    AsyncLlmEngine engine = start();
    AtomicReference<Throwable> error = new AtomicReference<>();
    BaseSubscriber<GenerationEvent> stalled =
        new BaseSubscriber<>() {
          @Override
          protected void hookOnSubscribe(Subscription subscription) {
            subscription.request(1);
          }

          @Override
          protected void hookOnError(Throwable e) {
            error.set(e);
          }
        };
    engine.generate(request(params(110), 1)).subscribe(stalled);
    Answer other = send(engine, request(params(BUFFER - 4), 2));
    assertThat(tokens(other.join(), 0))
        .isEqualTo(FakeModel.generates(new int[] {2}, 7, BUFFER - 4));
    awaitAllFree();
    assertThat(counter("gregale.requests.cancelled", "cause", "slow_reader")).isEqualTo(1);
    assertThat(error.get()).isNull();
    assertThat(counter("gregale.tokens.generation")).as("goes on").isLessThan(110 + BUFFER - 4);
    stalled.requestUnbounded();
    await().atMost(SOON).until(() -> error.get() instanceof SlowReaderException);
  }
}
