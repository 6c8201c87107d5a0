package dev.gregale.backend.cpu;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.gregale.backend.SamplingInputs;
import dev.gregale.backend.Tensor;
import dev.gregale.checkpoint.SafetensorsFile;
import dev.gregale.sampling.NoRepeatNgram;
import dev.gregale.tensor.DType;
import dev.gregale.tensor.Shape;
import java.lang.foreign.ValueLayout;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import org.junit.jupiter.api.Test;
import tools.jackson.databind.JsonNode;
import tools.jackson.databind.json.JsonMapper;

/** The distribution that tokens are drawn from, against Hugging Face's logits processors. */
class SamplingGoldenTest {
  private static final Path FOLDER = Path.of("src/test/resources/golden/sampling");
  private static final double TOLERANCE = 1e-5;

  @Test
  void distributionsAreHuggingFaces() throws Exception {
    JsonNode cases = JsonMapper.shared().readTree(Files.readString(FOLDER.resolve("cases.json")));
    double worst = 0;
    try (SafetensorsFile file = SafetensorsFile.open(FOLDER.resolve("logits.safetensors"))) {
      for (JsonNode golden : cases) {
        float[] logits =
            file.data("logits" + golden.get("prompt").asInt())
                .toArray(ValueLayout.JAVA_FLOAT_UNALIGNED);
        worst = Math.max(worst, compare(golden, distribution(golden, logits)));
      }
    }
    assertTrue(cases.size() >= 100);
    System.out.printf("golden sampling: largest error of a probability %.2e%n", worst);
  }

  private static double[] distribution(JsonNode golden, float[] logits) {
    JsonNode settings = golden.get("settings");
    float repetition = settings.path("repetition_penalty").floatValue(1);
    int[] promptIds =
        golden.get("ids").valueStream().mapToInt(JsonNode::asInt).distinct().toArray();
    TokenSampler.adjust(logits, 0, inputs(repetition, promptIds), 0);
    int[] ids = golden.get("ids").valueStream().mapToInt(JsonNode::asInt).toArray();
    NoRepeatNgram.forEachBanned(
        i -> ids[i],
        ids.length,
        settings.path("no_repeat_ngram_size").intValue(0),
        id -> logits[id] = Float.NEGATIVE_INFINITY);
    Distribution distribution = new Distribution();
    distribution.set(
        logits,
        0,
        logits.length,
        settings.path("temperature").floatValue(1),
        settings.path("top_k").intValue(0),
        settings.path("top_p").floatValue(1),
        settings.path("min_p").floatValue(0));
    return distribution.normalised();
  }

  private static SamplingInputs inputs(float repetition, int[] promptIds) {
    int[] counts = new int[promptIds.length];
    Arrays.fill(counts, SamplingInputs.ONLY_IN_PROMPT);
    Tensor zero = floats(new float[1]);
    Tensor none = ints(new int[1]);
    Tensor seed = CpuTensor.allocate(DType.I64, Shape.of(1));
    return new SamplingInputs(
        zero,
        none,
        zero,
        zero,
        floats(new float[] {repetition}),
        zero,
        zero,
        seed,
        none,
        none,
        none,
        ints(new int[] {0, promptIds.length}),
        ints(promptIds),
        ints(counts),
        floats(new float[promptIds.length]),
        ints(new int[] {SamplingInputs.NO_MASK}),
        none);
  }

  private static Tensor ints(int[] values) {
    CpuTensor tensor = CpuTensor.allocate(DType.I32, Shape.of(values.length));
    System.arraycopy(values, 0, CpuTensor.ints(tensor), 0, values.length);
    return tensor;
  }

  private static Tensor floats(float[] values) {
    CpuTensor tensor = CpuTensor.allocate(DType.F32, Shape.of(values.length));
    System.arraycopy(values, 0, CpuTensor.floats(tensor), 0, values.length);
    return tensor;
  }

  private static double compare(JsonNode golden, double[] found) {
    String what = "prompt " + golden.get("prompt") + " with " + golden.get("settings");
    long support = Arrays.stream(found).filter(p -> p > 0).count();
    assertEquals(golden.get("support").asLong(), support, "tokens left, " + what);
    long sumOfIds = 0;
    double entropy = 0;
    for (int id = 0; id < found.length; id++) {
      sumOfIds += found[id] > 0 ? id : 0;
      entropy -= found[id] > 0 ? found[id] * Math.log(found[id]) : 0;
    }
    assertEquals(golden.get("support_sum_of_ids").asLong(), sumOfIds, "sum of ids, " + what);
    assertEquals(golden.get("entropy").asDouble(), entropy, 1e-4, "entropy, " + what);
    double worst = 0;
    for (int i = 0; i < golden.get("top_ids").size(); i++) {
      double expected = golden.get("top_probs").get(i).asDouble();
      double probability = found[golden.get("top_ids").get(i).asInt()];
      assertEquals(expected, probability, TOLERANCE, what);
      worst = Math.max(worst, Math.abs(expected - probability));
    }
    return worst;
  }
}
