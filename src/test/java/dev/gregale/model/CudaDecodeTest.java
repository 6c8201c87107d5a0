package dev.gregale.model;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;

import dev.gregale.backend.Backend;
import dev.gregale.backend.cuda.CudaBackends;
import dev.gregale.sampling.SamplingParams;
import dev.gregale.scheduler.Sequence;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.stream.Stream;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;

/** Scheduler, recorded decode steps a step ahead, and sampling together, on the GPU. */
@Tag("gpu")
class CudaDecodeTest {

  static Stream<Backend> backends() {
    return CudaBackends.withRanks(Golden.DEMO_ATTENTION);
  }

  static Stream<Backend> deterministic() {
    return CudaBackends.deterministic(Golden.DEMO_ATTENTION);
  }

  private static int[] output(Sequence sequence) {
    int[] tokens = new int[sequence.numOutputTokens()];
    for (int i = 0; i < tokens.length; i++) {
      tokens[i] = sequence.token(sequence.numPromptTokens() + i);
    }
    return tokens;
  }

  /**
   * Every expert and every token that recorded steps chose is among the best for fp32 too, given
   * the same experts before, as nearly as bf16 can tell.
   */
  @ParameterizedTest
  @MethodSource("backends")
  void greedyContinuations(Backend backend) {
    GreedyContinuations found = GreedyContinuations.of(backend, backend.kernels(), 0);
    System.out.println(found);
    found.assertWithinRounding();
  }

  /** In the deterministic mode recorded decode steps have the bits of a prefill of the whole. */
  @ParameterizedTest
  @MethodSource("deterministic")
  void decodeIsPrefillBitForBit(Backend backend) {
    List<Sequence> continuations = GreedyContinuations.start(GreedyContinuations.golden(), 0);
    new PipelineRun(backend, backend.kernels(), 8).finish(continuations);
    ForwardFixture forward =
        new ForwardFixture(backend, Golden.DEMO_MODEL, LoadFormat.AUTO, 128, 128);
    int vocabSize = forward.config.vocabSize();
    for (Sequence sequence : continuations) {
      int[] ids = new int[sequence.numTokens() - 1];
      Arrays.setAll(ids, sequence::token);
      float[] logits = forward.logits(List.of(ids));
      int prompt = sequence.numPromptTokens();
      for (int t = prompt - 1; t < ids.length; t++) {
        int best = 0;
        for (int i = 1; i < vocabSize; i++) {
          best = logits[t * vocabSize + i] > logits[t * vocabSize + best] ? i : best;
        }
        assertEquals(best, sequence.token(t + 1), "token after " + t);
      }
    }
  }

  /** In the deterministic mode a sequence's tokens do not depend on who shares its steps. */
  @ParameterizedTest
  @MethodSource("deterministic")
  void companyChangesNothing(Backend backend) {
    PipelineRun run = new PipelineRun(backend, backend.kernels(), 24);
    int[] prompt = {1, 2579, 591, 261, 565};
    Sequence alone = sampled(prompt, 40);
    run.finish(List.of(alone));
    List<Sequence> company = new ArrayList<>();
    for (int i = 0; i < 21; i++) {
      company.add(sampled(prompt, 20 + i)); // they leave one by one: every number of rows
    }
    run.finish(company);
    for (Sequence one : company) {
      assertArrayEquals(Arrays.copyOf(output(alone), one.numOutputTokens()), output(one));
    }
  }

  private static Sequence sampled(int[] prompt, int maxTokens) {
    SamplingParams params =
        SamplingParams.builder()
            .temperature(0.8f)
            .topP(0.9f)
            .maxTokens(maxTokens)
            .ignoreEos(true)
            .logprobs(2)
            .build();
    return new Sequence(prompt, params, 42, new int[0], 256, null);
  }
}
