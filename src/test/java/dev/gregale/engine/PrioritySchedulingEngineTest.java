package dev.gregale.engine;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.awaitility.Awaitility.await;

import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.CopyOnWriteArrayList;
import java.util.concurrent.Semaphore;
import org.junit.jupiter.api.Test;

/** The engine where requests may have priorities, and where they may not. */
class PrioritySchedulingEngineTest extends EngineFixture {

  private static GenerationRequest request(int priority, int... prompt) {
    return new GenerationRequest(
        "test", List.of(prompt), 1, params(2).build(), /* cacheSalt= */ null, priority);
  }

  @Test
  void theLowestRunsFirst() {
    use(limits(1, 40, 10, SchedulingPolicy.PRIORITY));
    model.permits = new Semaphore(0);
    List<Integer> prompts = new CopyOnWriteArrayList<>();
    model.onStep = batch -> prompts.add(batch.sequences.getFirst().token(0));
    AsyncLlmEngine engine = start();
    int[] priorities = {7, 3, 0, -4};
    List<Answer> answers = new ArrayList<>();
    for (int i = 0; i < priorities.length; i++) {
      answers.add(send(engine, request(priorities[i], i)));
      await().atMost(SOON).until(() -> model.steps.get() == 1); // the first of them runs
    }
    model.permits.release(1_000);
    answers.forEach(Answer::join);
    assertThat(prompts).containsExactly(0, 0, 3, 3, 2, 2, 1, 1);
    awaitAllFree();
  }

  @Test
  void withoutThePolicyAPriorityIsRefused() {
    AsyncLlmEngine engine = start();
    assertThat(engine.info().schedulingPolicy()).isEqualTo(SchedulingPolicy.FCFS);
    assertThatThrownBy(() -> all(engine, request(-1, 1)))
        .isInstanceOf(IllegalArgumentException.class)
        .hasMessage("priority is -1, but scheduling-policy is not priority");
    assertThat(all(engine, request(0, 1))).isNotEmpty();
  }

  /** Each may have started and then lost its place to the next: none of them is in the queue. */
  @Test
  void thoseInsideAreBoundedHoweverManyHaveStarted() {
    EngineLimits limits = limits(2, 40, 1, SchedulingPolicy.PRIORITY);
    Admission admission = new Admission(limits, 1);
    admission.advanceTo(EngineState.SERVING);
    for (int i = 0; i < 3; i++) {
      enter(admission, limits);
      admission.leftQueue();
    }
    assertThatThrownBy(() -> enter(admission, limits))
        .isInstanceOf(EngineOverloadedException.class)
        .hasMessage("3 requests are running or waiting, which is the limit. Try again later.");
    admission.sequenceEnded();
    admission.endedAfter(1);
    enter(admission, limits);
  }

  private static void enter(Admission admission, EngineLimits limits) {
    ServedModel model = new ServedModel("fake", 1, FakeModel.VOCAB, new int[0], FakeModel.ROUTING);
    admission.enter(new ActiveRequest(request(0, 1), model, limits), () -> {});
  }
}
