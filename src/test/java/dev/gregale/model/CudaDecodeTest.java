package dev.gregale.model;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.gregale.backend.Backend;
import dev.gregale.backend.cuda.CudaBackends;
import dev.gregale.sampling.SamplingParams;
import dev.gregale.scheduler.ScheduledBatch;
import dev.gregale.scheduler.Scheduler;
import dev.gregale.scheduler.SchedulerConfig;
import dev.gregale.scheduler.Sequence;
import java.nio.file.Files;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;
import tools.jackson.databind.JsonNode;
import tools.jackson.databind.json.JsonMapper;

/** Scheduler, recorded decode steps and sampling together, on the GPU. */
@Tag("gpu")
class CudaDecodeTest {
  private static final int BLOCK_SIZE = 16;

  static List<Backend> backends() {
    return CudaBackends.both();
  }

  private record Run(Scheduler scheduler, ModelRunner runner, ScheduledBatch batch) {

    static Run of(Backend backend, int maxSeqs) {
      SchedulerConfig limits = new SchedulerConfig(maxSeqs, 256, 256, BLOCK_SIZE, 512, 256, 64);
      try (ModelLoader loader = ModelLoader.open(Golden.DEMO_MODEL, LoadFormat.AUTO)) {
        MixtralConfig config = loader.config();
        ModelRunner runner =
            new ModelRunner(
                backend,
                backend.kernels(),
                config,
                loader.upload(backend, 256, layer -> {}),
                KvCache.allocate(backend, config, 512, BLOCK_SIZE, backend.kvCacheDType()),
                256,
                maxSeqs,
                256,
                limits.maxBlocksPerSeq(),
                20);
        return new Run(new Scheduler(limits), runner, limits.newBatch());
      }
    }

    void finish(List<Sequence> sequences) {
      sequences.forEach(scheduler::add);
      while (scheduler.hasWork()) {
        scheduler.schedule(batch);
        scheduler.update(batch, runner.run(batch).tokens);
      }
    }
  }

  private static Sequence greedy(int[] prompt, int maxTokens) {
    SamplingParams params =
        SamplingParams.builder().temperature(0).maxTokens(maxTokens).ignoreEos(true).build();
    return new Sequence(prompt, params, 1, new int[0], 256);
  }

  private static int[] ints(JsonNode array) {
    return array.valueStream().mapToInt(JsonNode::asInt).toArray();
  }

  private static int[] output(Sequence sequence) {
    int[] tokens = new int[sequence.numOutputTokens()];
    for (int i = 0; i < tokens.length; i++) {
      tokens[i] = sequence.token(sequence.numPromptTokens() + i);
    }
    return tokens;
  }

  /** Tokens equal fp32's up to the first margin that bf16 cannot be sure of. */
  @ParameterizedTest
  @MethodSource("backends")
  void greedyContinuations(Backend backend) throws Exception {
    JsonNode golden =
        JsonMapper.shared().readTree(Files.readString(Golden.path("greedy/greedy.json")));
    List<Sequence> sequences = new ArrayList<>();
    golden.forEach(one -> sequences.add(greedy(ints(one.get("ids")), 64)));
    Run.of(backend, 8).finish(sequences);
    StringBuilder differences = new StringBuilder();
    for (int i = 0; i < sequences.size(); i++) {
      int[] expected = ints(golden.get(i).get("tokens_ignore_eos"));
      int[] found = output(sequences.get(i));
      assertEquals(expected.length, found.length);
      for (int t = 0; t < expected.length; t++) {
        double margin = golden.get(i).get("steps").get(t).get("margin").asDouble();
        if (margin < 1e-3) {
          break;
        }
        if (expected[t] != found[t]) {
          differences.append(
              "prompt %d step %d: expected %d, found %d, margin %s%n"
                  .formatted(i, t, expected[t], found[t], margin));
          break;
        }
      }
    }
    System.out.printf("golden greedy on %s:%n%s", backend.description(), differences);
    assertTrue(differences.isEmpty(), differences.toString());
  }

  /** In the deterministic mode a sequence's tokens do not depend on who shares its steps. */
  @Test
  void companyChangesNothing() {
    Run run = Run.of(CudaBackends.deterministic(), 24);
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
    return new Sequence(prompt, params, 42, new int[0], 256);
  }
}
