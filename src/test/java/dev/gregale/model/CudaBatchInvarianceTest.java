package dev.gregale.model;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;

import dev.gregale.backend.Backend;
import dev.gregale.backend.cuda.CudaBackends;
import dev.gregale.quantization.Quantization;
import dev.gregale.tensor.InputScaling.When;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.SplittableRandom;
import java.util.stream.Stream;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;

/**
 * In the deterministic mode a request's logits have the same bits whatever batch it rides in: 1,000
 * random batches, in which company, place and chunks of the prompt differ.
 */
@Tag("gpu")
class CudaBatchInvarianceTest {
  private static final int BATCHES = 1000;
  private static final int MAX_SEQS = 32;
  private static final int MAX_LENGTH = 128;
  private static final int PROMPT = 90;
  private static final int DECODED = 4;

  private static final String CONFIG =
      """
      {"architectures": ["MixtralForCausalLM"], "model_type": "mixtral", "hidden_act": "silu",
       "hidden_size": 512, "intermediate_size": 1024, "num_attention_heads": 8,
       "num_key_value_heads": 2, "head_dim": 128, "num_hidden_layers": 2, "num_local_experts": 8,
       "num_experts_per_tok": 2, "rms_norm_eps": 1e-5, "rope_theta": 1000000.0,
       "max_position_embeddings": 512, "vocab_size": 1024, "sliding_window": null,
       "tie_word_embeddings": false, "torch_dtype": "bfloat16", "bos_token_id": 1,
       "eos_token_id": 2}
      """;

  @Test
  void demoModel() {
    check(Golden.DEMO_MODEL, LoadFormat.AUTO, Precision.AS_STORED);
  }

  @ParameterizedTest
  @MethodSource("precisions")
  void wideModel(Precision precision, @TempDir Path directory) throws Exception {
    Files.writeString(directory.resolve("config.json"), CONFIG);
    check(directory, LoadFormat.DUMMY, precision);
  }

  static Stream<Precision> precisions() {
    return Stream.of(
        Precision.AS_STORED,
        new Precision(Quantization.FP8.recipe(), When.IF_FASTER),
        new Precision(Quantization.MXFP8.recipe(), When.IF_FASTER),
        new Precision(Quantization.FP8.recipe(), When.ALWAYS));
  }

  private static void check(Path model, LoadFormat format, Precision precision) {
    try (Backend backend = CudaBackends.deterministic()) {
      ForwardFixture forward =
          new ForwardFixture(
              backend,
              model,
              format,
              precision,
              MAX_SEQS * MAX_LENGTH,
              MAX_LENGTH + DECODED,
              MAX_SEQS);
      SplittableRandom random = new SplittableRandom(1);
      int[] subject = tokens(random, forward, PROMPT + DECODED);
      float[] alone = forward.logits(List.of(subject)); // [T, V]
      for (int batch = 0; batch < BATCHES; batch++) {
        ride(forward, random.split(), subject, alone, "batch " + batch);
      }
    }
  }

  /** The subject's prompt in random chunks, then single tokens, every step in other company. */
  private static void ride(
      ForwardFixture forward, SplittableRandom random, int[] subject, float[] alone, String batch) {
    int place = random.nextInt(MAX_SEQS);
    int computed = 0;
    while (computed < subject.length) {
      int most = computed < PROMPT ? PROMPT - computed : 1;
      int count = random.nextInt(3) == 0 ? most : random.nextInt(1, most + 1);
      int[] chunk = Arrays.copyOfRange(subject, computed, computed + count);
      List<int[]> all = new ArrayList<>();
      int sequences = random.nextInt(place + 1, MAX_SEQS + 1);
      boolean allDecode = random.nextInt(3) == 0;
      int before = 0;
      for (int s = 0; s < sequences; s++) {
        int longest = random.nextInt(8) == 0 ? MAX_LENGTH : 4;
        int length = allDecode ? 1 : random.nextInt(1, longest + 1);
        all.add(s == place ? chunk : tokens(random, forward, length));
        before += s < place ? all.get(s).length : 0;
      }
      int[] starts = new int[sequences];
      starts[place] = computed;
      float[] found = forward.logits(all, starts);
      int width = forward.config.vocabSize();
      assertArrayEquals(
          Arrays.copyOfRange(alone, computed * width, (computed + count) * width),
          Arrays.copyOfRange(found, before * width, (before + count) * width),
          "%s, %d tokens from %d in place %d of %d"
              .formatted(batch, count, computed, place, sequences));
      computed += count;
    }
  }

  private static int[] tokens(SplittableRandom random, ForwardFixture forward, int count) {
    return random.ints(count, 0, forward.config.vocabSize()).toArray();
  }
}
