package dev.gregale.engine;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.awaitility.Awaitility.await;

import dev.gregale.backend.BackendException;
import dev.gregale.engine.GenerationEvent.Finished;
import dev.gregale.sampling.FinishReason;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Random;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.Semaphore;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import reactor.core.Disposable;

/** Several replicas behind one queue. */
@Timeout(30)
class ReplicasEngineTest extends EngineFixture {
  private final List<FakeModel> replicas = new ArrayList<>();

  /** Replicas of which each takes permits for its steps. */
  private AsyncLlmEngine start(int numReplicas, EngineLimits each) {
    limits = each;
    for (int i = 0; i < numReplicas; i++) {
      FakeModel replica = new FakeModel(each, maxInFlight());
      replica.permits = new Semaphore(0);
      replicas.add(replica);
    }
    return start(replicas);
  }

  @AfterEach
  void letAllRun() {
    replicas.forEach(replica -> release(replica, 1_000_000));
  }

  private static void release(FakeModel replica, int steps) {
    Semaphore permits = replica.permits;
    if (permits != null) {
      permits.release(steps);
    }
  }

  private static void awaitSteps(FakeModel replica, int steps) {
    await().atMost(SOON).until(() -> replica.steps.get() >= steps);
  }

  @Test
  void requestsGoWhereTheFewestAreAndAnswersAreTheSame() {
    AsyncLlmEngine engine = start(3, limits(2, 40, 8));
    List<Answer> answers = new ArrayList<>();
    for (int i = 0; i < 6; i++) {
      answers.add(send(engine, request(params(20), i)));
    }
    replicas.forEach(replica -> awaitSteps(replica, 1)); // all run at once
    letAllRun();
    for (int i = 0; i < 6; i++) {
      assertThat(tokens(answers.get(i).join(), 0))
          .isEqualTo(FakeModel.generates(new int[] {i}, 7, 20));
    }
    for (FakeModel replica : replicas) {
      assertThat(replica.steps.get()).isBetween(20, 42);
    }
    await()
        .atMost(SOON)
        .untilAsserted(() -> assertThat(gauge("gregale.kv.blocks.free")).isEqualTo(3 * 40));
  }

  @Test
  void whoeverIsIdleTakesTheNextOfTheOneQueue() {
    AsyncLlmEngine engine = start(2, limits(1, 40, 8));
    List<Answer> answers = new ArrayList<>();
    for (int i = 0; i < 5; i++) {
      answers.add(send(engine, request(params(10), i)));
    }
    awaitSteps(replicas.getFirst(), 1);
    assertThat(gauge("gregale.requests.waiting")).isEqualTo(3);
    release(replicas.get(1), 1_000); // the first is stuck at the first request
    for (int i = 1; i < 5; i++) {
      assertThat(tokens(answers.get(i).join(), 0)).hasSize(10);
    }
    assertThat(answers.getFirst().future()).isNotDone();
    letAllRun();
    assertThat(tokens(answers.getFirst().join(), 0)).hasSize(10);
  }

  @Test
  void theQueueIsBoundedForAllTogether() {
    AsyncLlmEngine engine = start(2, limits(1, 40, 3));
    List<Answer> answers = new ArrayList<>();
    for (int i = 0; i < 5; i++) {
      if (i == 2) {
        replicas.forEach(replica -> awaitSteps(replica, 1)); // the first two are in no queue
      }
      answers.add(send(engine, request(params(10), i)));
    }
    assertThatThrownBy(() -> all(engine, request(params(5), 9)))
        .isInstanceOf(EngineOverloadedException.class);
    letAllRun();
    answers.forEach(Answer::join);
    assertThat(tokens(all(engine, request(params(5), 9)), 0)).hasSize(5);
  }

  @Test
  void whoWaitsCanBeAborted() {
    AsyncLlmEngine engine = start(2, limits(1, 40, 8));
    Answer first = send(engine, request(params(10), 1));
    Answer second = send(engine, request(params(10), 2));
    Disposable waiting = engine.generate(request(params(10), 3)).subscribe();
    Answer last = send(engine, request(params(10), 4));
    assertThat(gauge("gregale.requests.waiting")).isEqualTo(2);
    waiting.dispose();
    assertThat(gauge("gregale.requests.waiting")).isEqualTo(1);
    letAllRun();
    for (Answer answer : List.of(first, second, last)) {
      assertThat(tokens(answer.join(), 0)).hasSize(10);
    }
    assertThat(counter("gregale.requests.finished", "reason", "abort")).isEqualTo(1);
    assertThat(replicas.getFirst().steps.get() + replicas.get(1).steps.get()).isLessThan(40);
  }

  @Test
  void drainingFinishesWhatWaitsOrAbortsItAtTheDeadline() {
    AsyncLlmEngine engine = start(2, limits(1, 40, 8));
    List<Answer> answers = new ArrayList<>();
    for (int i = 0; i < 6; i++) {
      answers.add(send(engine, request(params(10), i)));
    }
    CompletableFuture<Void> closed = CompletableFuture.runAsync(engine::close);
    await().atMost(SOON).until(() -> engine.state() == EngineState.DRAINING);
    letAllRun();
    closed.join();
    for (Answer answer : answers) {
      assertThat(tokens(answer.join(), 0)).hasSize(10);
    }
  }

  @Test
  void theDeadlineAbortsWhatWaits() {
    AsyncLlmEngine engine = start(2, limits(1, 40, 8));
    List<Answer> answers = new ArrayList<>();
    for (int i = 0; i < 6; i++) {
      answers.add(send(engine, request(params(10), i)));
    }
    replicas.forEach(replica -> release(replica, 3));
    replicas.forEach(replica -> awaitSteps(replica, 4)); // and they stand in the fourth
    CompletableFuture<Void> closed = CompletableFuture.runAsync(() -> engine.close(Duration.ZERO));
    await().atMost(SOON).until(() -> engine.state() == EngineState.DRAINING);
    replicas.forEach(replica -> release(replica, 3));
    closed.join();
    for (Answer answer : answers) {
      Finished end = (Finished) answer.join().getLast();
      assertThat(end.reason()).isEqualTo(FinishReason.ABORT);
    }
  }

  @Test
  void aReplicaWhoseDeviceFailsFailsTheEngine() {
    AsyncLlmEngine engine = start(2, limits(1, 40, 8));
    List<Answer> answers = new ArrayList<>();
    for (int i = 0; i < 5; i++) {
      answers.add(send(engine, request(params(50), i)));
    }
    BackendException error = new DeviceError();
    replicas.get(1).onStep =
        batch -> {
          throw error;
        };
    release(replicas.get(1), 1);
    await().atMost(SOON).until(() -> engine.state() == EngineState.FAILED);
    letAllRun(); // the other one ends its step, and hears of it
    for (Answer answer : answers) {
      assertThatThrownBy(answer::join).hasCauseInstanceOf(EngineUnavailableException.class);
    }
    assertThat(engine.state()).isEqualTo(EngineState.FAILED);
    assertThat(engine.failure().toCompletableFuture().join()).isSameAs(error);
    assertThatThrownBy(() -> all(engine, request(params(5), 1)))
        .isInstanceOf(EngineUnavailableException.class);
  }

  private static final class DeviceError extends BackendException {
    private static final long serialVersionUID = 1L;

    DeviceError() {
      super("a device is gone");
    }

    @Override
    public boolean isSticky() {
      return true;
    }
  }

  @Test
  void randomTrafficLeavesNothingBehind() {
    AsyncLlmEngine engine = start(3, limits(2, 40, 100));
    letAllRun();
    Random random = new Random(11);
    List<CompletableFuture<?>> done = new ArrayList<>();
    for (int i = 0; i < 120; i++) {
      int[] prompt = random.ints(1 + random.nextInt(20), 0, 400).toArray();
      int maxTokens = 1 + random.nextInt(30);
      long taken = random.nextInt(4) == 0 ? 1 + random.nextInt(5) : Long.MAX_VALUE;
      done.add(
          engine
              .generate(request(params(maxTokens), prompt))
              .take(taken)
              .onErrorComplete(EngineOverloadedException.class)
              .then()
              .toFuture());
    }
    CompletableFuture.allOf(done.toArray(CompletableFuture[]::new)).join();
    await()
        .atMost(SOON)
        .untilAsserted(
            () -> {
              assertThat(gauge("gregale.kv.blocks.free")).isEqualTo(3 * 40);
              assertThat(gauge("gregale.requests.running")).isZero();
              assertThat(gauge("gregale.requests.waiting")).isZero();
            });
    assertThat(tokens(all(engine, request(params(5), 9)), 0)).hasSize(5);
  }
}
