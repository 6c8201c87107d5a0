package dev.gregale.model;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;

import dev.gregale.backend.Backend;
import dev.gregale.checkpoint.SafetensorsFile;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;

/** What the golden tests of every backend run; how exact it must be is theirs to say. */
final class GoldenRuns {
  private static final int WINDOW = 512;

  /** Compares logits. */
  interface Comparison {
    void compare(String what, float[] expected, float[] found);
  }

  private GoldenRuns() {}

  /** The sequences of golden/packed. */
  static List<int[]> packedSequences() {
    try (SafetensorsFile golden = Golden.open("packed/packed.safetensors")) {
      int[] ids = Golden.ints(golden, "input_ids");
      int[] cu = Golden.ints(golden, "cu_seqlens");
      List<int[]> sequences = new ArrayList<>();
      for (int s = 0; s + 1 < cu.length; s++) {
        sequences.add(Arrays.copyOfRange(ids, cu[s], cu[s + 1]));
      }
      return sequences;
    }
  }

  /** The logits of all sequences of all models of golden/random. */
  static void randomModels(Backend backend, Comparison comparison) {
    for (String model : List.of("odd0/hf", "odd0/hf-sharded", "odd0/te", "odd1/hf")) {
      ForwardFixture forward =
          new ForwardFixture(backend, Golden.path("random/" + model), LoadFormat.AUTO, 64, 64);
      try (SafetensorsFile golden =
          Golden.open("random/" + model.substring(0, 4) + "/logits.safetensors")) {
        for (String name : golden.names().stream().filter(n -> n.endsWith(".logits")).toList()) {
          int[] ids = Golden.ints(golden, name.replace("logits", "input_ids"));
          comparison.compare(
              model + " " + name, Golden.floats(golden, name), forward.logits(List.of(ids)));
        }
      }
    }
  }

  /** A prompt in chunks and then token by token has the bits of the prompt at once. */
  static void assertChunksHaveTheBitsOfTheWhole(Backend backend) {
    ForwardFixture forward =
        new ForwardFixture(backend, Golden.DEMO_MODEL, LoadFormat.AUTO, 160, 160);
    try (SafetensorsFile golden = Golden.open("logits/long.safetensors")) {
      int[] ids = Golden.ints(golden, "long0.input_ids");
      int vocabSize = forward.config.vocabSize();
      float[] whole = forward.logits(List.of(ids));
      int computed = 0;
      for (int chunk : new int[] {50, 17, 1, 1, 1, 40, 1, 6}) {
        int[] next = Arrays.copyOfRange(ids, computed, computed + chunk);
        float[] found = forward.logits(List.of(next), new int[] {computed});
        float[] expected =
            Arrays.copyOfRange(whole, computed * vocabSize, (computed + chunk) * vocabSize);
        assertArrayEquals(expected, found, "tokens from " + computed);
        computed += chunk;
      }
    }
  }

  /**
   * The loss on the first windows of golden/heldout, in nats per predicted token.
   *
   * @param forward holds 512 tokens
   * @param windows 65 are there
   */
  static double heldOutLoss(ForwardFixture forward, int windows) {
    try (SafetensorsFile file = Golden.open("heldout/windows.safetensors")) {
      int[] all = Golden.ints(file, "windows");
      double total = 0;
      for (int w = 0; w < windows; w++) {
        int[] ids = Arrays.copyOfRange(all, w * WINDOW, (w + 1) * WINDOW);
        float[] logits = forward.logits(List.of(ids));
        for (float value : logprobs(logits, ids, forward.config.vocabSize())) {
          total -= value;
        }
      }
      return total / (windows * (WINDOW - 1));
    }
  }

  /** Of each token after the first: {@code [T - 1]}. */
  static float[] logprobs(float[] logits, int[] ids, int vocabSize) {
    float[] result = new float[ids.length - 1];
    for (int t = 0; t + 1 < ids.length; t++) {
      double max = Double.NEGATIVE_INFINITY;
      for (int i = 0; i < vocabSize; i++) {
        max = Math.max(max, logits[t * vocabSize + i]);
      }
      double sum = 0;
      for (int i = 0; i < vocabSize; i++) {
        sum += Math.exp(logits[t * vocabSize + i] - max);
      }
      result[t] = (float) (logits[t * vocabSize + ids[t + 1]] - max - Math.log(sum));
    }
    return result;
  }
}
