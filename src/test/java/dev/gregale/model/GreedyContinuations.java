package dev.gregale.model;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.gregale.backend.Backend;
import dev.gregale.backend.Device;
import dev.gregale.backend.ModelOps;
import dev.gregale.backend.cpu.CpuBackends;
import dev.gregale.sampling.SamplingParams;
import dev.gregale.scheduler.Sequence;
import dev.gregale.tensor.DType;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.Files;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Locale;
import tools.jackson.databind.JsonNode;
import tools.jackson.databind.json.JsonMapper;

/**
 * Continuations of the golden prompts, 64 tokens each, all at once, and how far the choices made on
 * the way, of experts and of tokens, are from {@link ForcedReference fp32's in their place}.
 *
 * @param deficit of experts, the largest: router logits
 * @param gap of tokens, the largest: log-probability
 * @param gapAtLeaving the largest of the tokens that are the first of their prompt not to be the
 *     golden ones
 * @param agreed tokens before those, of {@code 8 * 64}
 * @param agreedBf16 the same of Hugging Face's run in bf16
 * @param where each prompt has them, a line for each
 */
record GreedyContinuations(
    double deficit, double gap, double gapAtLeaving, int agreed, int agreedBf16, String where) {
  /** What correct runs in bf16 were found to have at most is in docs/numerics.md. */
  static final double MAX_DEFICIT = 0.06;

  static final double MAX_GAP = 0.25;
  static final double MAX_GAP_AT_LEAVING = 0.2;
  static final int LENGTH = 64;

  /** Those of that backend's steps, recorded if {@code ops} are its own. */
  static GreedyContinuations of(Backend backend, ModelOps ops, double temperature) {
    JsonNode golden = golden();
    List<Sequence> sequences = start(golden, temperature);
    PipelineRun run = new PipelineRun(backend, ops, sequences.size());
    run.finish(sequences);
    try (Device cpu = CpuBackends.fastest()) {
      return compare(
          golden, run, sequences, new ForcedReference(cpu, Precision.AS_STORED, DType.F32, 128));
    }
  }

  private static GreedyContinuations compare(
      JsonNode golden, PipelineRun run, List<Sequence> sequences, ForcedReference reference) {
    GreedyContinuations all =
        new GreedyContinuations(Double.NEGATIVE_INFINITY, 0, 0, 0, 0, "nothing was compared");
    for (int i = 0; i < sequences.size(); i++) {
      Sequence sequence = sequences.get(i);
      int prompt = sequence.numPromptTokens();
      int[] tokens = new int[sequence.numTokens()];
      Arrays.setAll(tokens, sequence::token);
      ForcedReference.Doubt doubt = reference.of(tokens, prompt, run.expertIds(sequence));
      int step = firstDifference(golden.get(i), Arrays.copyOfRange(tokens, prompt, tokens.length));
      int agreedBf16 = firstDifference(golden.get(i), ints(golden.get(i).get("tokens_bf16")));
      all = all.and(i, doubt, step, agreedBf16);
    }
    return all;
  }

  private GreedyContinuations and(
      int prompt, ForcedReference.Doubt doubt, int agreed, int agreedBf16) {
    double[] gaps = doubt.gaps();
    double largest = Arrays.stream(gaps).max().orElse(Double.NaN);
    String here =
        "prompt %d: deficit %.4f at layer %d, position %d, gap %.4f, leaves at %d with %.4f"
            .formatted(
                prompt,
                doubt.deficit().logits(),
                doubt.deficit().layer(),
                doubt.deficit().position(),
                largest,
                agreed,
                agreed == LENGTH ? 0.0 : gaps[agreed]);
    return new GreedyContinuations(
        Math.max(deficit, doubt.deficit().logits()),
        Math.max(gap, largest),
        Math.max(gapAtLeaving, agreed == LENGTH ? 0 : gaps[agreed]),
        this.agreed + agreed,
        this.agreedBf16 + agreedBf16,
        prompt == 0 ? here : where + System.lineSeparator() + here);
  }

  void assertWithinRounding() {
    assertTrue(deficit <= MAX_DEFICIT, () -> "an expert that was not among the best:\n" + this);
    assertTrue(gap <= MAX_GAP, () -> "a token that was not the best:\n" + this);
    assertTrue(gapAtLeaving <= MAX_GAP_AT_LEAVING, () -> "where a prompt leaves:\n" + this);
  }

  /** Several lines, for the log. */
  @Override
  public String toString() {
    return String.format(
        Locale.ROOT,
        "golden greedy: %d of 512 tokens before leaving, HF %d; with the run's experts fp32 is off"
            + " by %.4f in experts, %.4f in tokens, %.4f where they leave%n%s",
        agreed,
        agreedBf16,
        deficit,
        gap,
        gapAtLeaving,
        where);
  }

  static JsonNode golden() {
    try {
      return JsonMapper.shared().readTree(Files.readString(Golden.path("greedy/greedy.json")));
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
  }

  static List<Sequence> start(JsonNode golden, double temperature) {
    SamplingParams params =
        SamplingParams.builder()
            .temperature((float) temperature)
            .maxTokens(LENGTH)
            .ignoreEos(true)
            .build();
    List<Sequence> sequences = new ArrayList<>();
    for (JsonNode one : golden) {
      sequences.add(new Sequence(ints(one.get("ids")), params, 1, new int[0], 256, null));
    }
    return sequences;
  }

  private static int[] ints(JsonNode array) {
    return array.valueStream().mapToInt(JsonNode::asInt).toArray();
  }

  private static int firstDifference(JsonNode golden, int[] tokens) {
    int[] expected = ints(golden.get("tokens_ignore_eos"));
    assertEquals(LENGTH, expected.length);
    int difference = Arrays.mismatch(expected, tokens);
    return difference < 0 ? LENGTH : difference;
  }
}
