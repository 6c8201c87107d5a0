package dev.gregale.engine;

import static org.assertj.core.api.Assertions.assertThat;

import dev.gregale.engine.GenerationEvent.Finished;
import dev.gregale.engine.GenerationEvent.Routed;
import dev.gregale.sampling.FinishReason;
import dev.gregale.sampling.SamplingParamsBuilder;
import io.micrometer.core.instrument.FunctionCounter;
import java.util.ArrayList;
import java.util.List;
import java.util.Random;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/** Who is told of the experts, and what is counted. */
@Timeout(30)
class RoutedExpertsTest extends EngineFixture {

  private static int[] experts(List<GenerationEvent> events, int index) {
    List<Integer> ids = new ArrayList<>();
    for (GenerationEvent event : events) {
      if (event instanceof Routed routed && routed.index() == index) {
        for (short id : routed.expertIds()) {
          ids.add((int) id);
        }
      }
    }
    return ids.stream().mapToInt(Integer::intValue).toArray();
  }

  /** Of the first so many positions: {@code [tokens, L, K]}. */
  private static int[] expected(int tokens) {
    RoutingShape shape = FakeModel.ROUTING;
    int[] ids = new int[tokens * shape.idsPerToken()];
    int i = 0;
    for (int position = 0; position < tokens; position++) {
      for (int layer = 0; layer < shape.numLayers(); layer++) {
        for (int k = 0; k < shape.numExpertsPerTok(); k++) {
          ids[i++] = FakeModel.expert(position, layer, k);
        }
      }
    }
    return ids;
  }

  private static SamplingParamsBuilder asking(int maxTokens) {
    return params(maxTokens).returnRoutedExperts(true);
  }

  @Test
  void everyTokenThatWasFedHasItsExperts() {
    List<GenerationEvent> events = all(start(), request(asking(5), 1, 2, 3));
    assertThat(experts(events, 0)).isEqualTo(expected(3 + 4)); // the fifth was not fed
    assertThat(events.getFirst()).isInstanceOf(Routed.class);
    assertThat(events.stream().filter(Routed.class::isInstance)).hasSize(5);
    assertThat(events.getLast()).isInstanceOf(Finished.class);
  }

  @Test
  void aWholeResultHasThemInOne() {
    List<GenerationResult> results = start().generateBlocking(request(asking(5), 1, 2, 3));
    short[] found = results.getFirst().expertIds();
    int[] ids = expected(3 + 4);
    assertThat(found).hasSize(ids.length);
    for (int i = 0; i < ids.length; i++) {
      assertThat((int) found[i]).isEqualTo(ids[i]);
    }
  }

  @Test
  void nobodyIsToldWhoDidNotAsk() {
    List<GenerationEvent> events = all(start(), request(params(5), 1, 2, 3));
    assertThat(events).noneMatch(Routed.class::isInstance);
  }

  @Test
  void aPromptAloneHasThemToo() {
    List<GenerationEvent> events = all(start(), request(asking(0).promptLogprobs(0), 1, 2, 3, 4));
    assertThat(experts(events, 0)).isEqualTo(expected(4));
  }

  /** A stop string is seen late: the model was fed more by then. */
  @Test
  void whatIsFedBehindAStopStringIsNotTold() {
    int[] tokens = FakeModel.generates(new int[] {1, 2}, 7, 9);
    String stop = FakeModel.text(tokens[4]);
    List<GenerationEvent> events = all(start(), request(asking(9).stop(List.of(stop)), 1, 2));
    assertThat(((Finished) events.getLast()).reason()).isEqualTo(FinishReason.STOP);
    assertThat(experts(events, 0)).isEqualTo(expected(2 + 4));
  }

  /** What an earlier request computed is computed again for who wants its experts. */
  @Test
  void aCachedPrefixHasThemToo() {
    AsyncLlmEngine engine = start();
    int[] prompt = new Random(1).ints(20, 0, 400).toArray();
    all(engine, request(params(3), prompt));
    List<GenerationEvent> events = all(engine, request(asking(3), prompt));
    assertThat(experts(events, 0)).isEqualTo(expected(20 + 2));
    assertThat(((Finished) events.getLast()).cachedTokens()).isZero();
    assertThat(((Finished) all(engine, request(params(3), prompt)).getLast()).cachedTokens())
        .isPositive();
  }

  @ParameterizedTest(name = "seed {0}")
  @ValueSource(longs = {1, 2, 3})
  void preemptionLosesNoneAndTellsNoneTwice(long seed) {
    use(limits(4, 30, 64)); // too few blocks for four sequences
    AsyncLlmEngine engine = start();
    Random random = new Random(seed);
    List<int[]> prompts = new ArrayList<>();
    List<Answer> answers = new ArrayList<>();
    for (int i = 0; i < 12; i++) {
      int[] prompt = random.ints(1 + random.nextInt(40), 0, 400).toArray();
      prompts.add(prompt);
      answers.add(send(engine, request(asking(30), prompt)));
    }
    for (int i = 0; i < prompts.size(); i++) {
      assertThat(experts(answers.get(i).join(), 0))
          .as("seed %d, request %d", seed, i)
          .isEqualTo(expected(prompts.get(i).length + 29));
    }
    assertThat(counter("gregale.preemptions")).isPositive();
  }

  @Test
  void tokensOfEachExpertAreCounted() {
    all(start(), request(params(5), 1, 2, 3));
    awaitAllFree();
    int[] ids = expected(3 + 4);
    RoutingShape shape = FakeModel.ROUTING;
    for (int layer = 0; layer < shape.numLayers(); layer++) {
      int[] counts = new int[shape.numExperts()];
      for (int t = 0; t < 7; t++) {
        for (int k = 0; k < shape.numExpertsPerTok(); k++) {
          counts[ids[t * shape.idsPerToken() + layer * shape.numExpertsPerTok() + k]]++;
        }
      }
      int most = 0;
      for (int expert = 0; expert < counts.length; expert++) {
        assertThat(tokens(layer, expert))
            .as("layer %d, %d", layer, expert)
            .isEqualTo(counts[expert]);
        most = Math.max(most, counts[expert]);
      }
      double mean = 14.0 / shape.numExperts();
      assertThat(imbalance(layer)).isEqualTo(most / mean);
    }
  }

  private double tokens(int layer, int expert) {
    FunctionCounter counter =
        registry
            .get("gregale.experts.tokens")
            .tags("layer", "" + layer, "expert", "" + expert)
            .functionCounter();
    return counter.count();
  }

  private double imbalance(int layer) {
    return registry.get("gregale.experts.imbalance").tag("layer", "" + layer).gauge().value();
  }
}
