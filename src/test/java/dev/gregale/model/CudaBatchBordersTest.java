package dev.gregale.model;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.params.provider.Arguments.arguments;

import dev.gregale.backend.Backend;
import dev.gregale.backend.cuda.CudaBackends;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.SplittableRandom;
import java.util.stream.Stream;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.Arguments;
import org.junit.jupiter.params.provider.MethodSource;

/**
 * In the deterministic mode a request's logits have the same bits on both sides of every size at
 * which other kernels take over, in long contexts and windows, and in every place of a tile.
 */
@Tag("gpu")
class CudaBatchBordersTest {
  private static final int MAX_SEQS = 272;
  private static final int MAX_TOKENS = 2240;
  private static final int LENGTH = 2200;
  private static final int PLACES = 6;

  /** Tokens of a batch. */
  private static final int[] SIZES = {
    1, 2, 7, 8, 9, 16, 17, 64, 127, 128, 129, 255, 256, 257, 272, 400, 639
  };

  private static final String CONFIG =
      """
      {"architectures": ["MixtralForCausalLM"], "model_type": "mixtral", "hidden_act": "silu",
       "hidden_size": %d, "intermediate_size": %d, "num_attention_heads": %d,
       "num_key_value_heads": %d, "head_dim": %d, "num_hidden_layers": %d, "num_local_experts": 8,
       "num_experts_per_tok": 2, "rms_norm_eps": 1e-5, "rope_theta": 1000000.0,
       "max_position_embeddings": 4096, "vocab_size": 1024, "sliding_window": %s,
       "tie_word_embeddings": false, "torch_dtype": "bfloat16", "bos_token_id": 1,
       "eos_token_id": 2}
      """;

  static Stream<Arguments> models() {
    return Stream.of(
        arguments("heads of 128", CONFIG.formatted(512, 1024, 8, 2, 128, 2, null), 12),
        arguments("a window", CONFIG.formatted(512, 1024, 8, 2, 128, 2, 150), 12),
        arguments("heads of 64", CONFIG.formatted(512, 448, 8, 2, 64, 2, null), 4),
        arguments("8x7B", CONFIG.formatted(4096, 14336, 32, 8, 128, 1, null), 8));
  }

  /** Alone, the whole is a batch of more than 256 tokens. */
  @ParameterizedTest(name = "{0}")
  @MethodSource("models")
  void sameBitsInBatchesOfEverySize(String what, String config, int rides, @TempDir Path directory)
      throws Exception {
    Files.writeString(directory.resolve("config.json"), config);
    try (Backend backend = CudaBackends.deterministic()) {
      Subject subject = Subject.of(backend, directory);
      SplittableRandom random = new SplittableRandom(2);
      int turn = 0;
      for (int ride = 0; ride < rides; ride++) {
        int place = random.nextInt(PLACES);
        for (int computed = 0; computed < LENGTH; turn++) {
          int size = Math.max(SIZES[turn % SIZES.length], place + 1);
          int most = Math.min(size - place, LENGTH - computed);
          int count = random.nextInt(3) == 0 ? most : random.nextInt(1, most + 1);
          subject.ride(random, computed, count, place, size);
          computed += count;
        }
      }
    }
  }

  /** Chunks from every position around those where keys come into another stage. */
  @ParameterizedTest(name = "{0}")
  @MethodSource("models")
  void sameBitsInEveryPlaceOfATile(String what, String config, int rides, @TempDir Path directory)
      throws Exception {
    Files.writeString(directory.resolve("config.json"), config);
    try (Backend backend = CudaBackends.deterministic()) {
      Subject subject = Subject.of(backend, directory);
      SplittableRandom random = new SplittableRandom(3);
      for (int border : new int[] {17, 128, 150, 278, 512, 1024, 1174, 2048}) {
        for (int start = border - 17; start <= border + 17; start++) {
          subject.ride(random, start, 36, 0, 36);
          subject.ride(random, start, 1, 0, 1);
        }
      }
    }
  }

  /** A sequence, and its logits {@code [LENGTH, V]} when it is computed alone and at once. */
  private record Subject(ForwardFixture forward, int[] tokens, float[] alone) {

    static Subject of(Backend backend, Path directory) {
      ForwardFixture forward =
          new ForwardFixture(
              backend, directory, LoadFormat.DUMMY, MAX_TOKENS, MAX_TOKENS, MAX_SEQS);
      int vocabSize = forward.config.vocabSize();
      int[] tokens = new SplittableRandom(1).ints(LENGTH, 0, vocabSize).toArray();
      return new Subject(forward, tokens, forward.logits(List.of(tokens)));
    }

    /** {@code count} tokens behind {@code computed}, in a batch of {@code size} tokens. */
    void ride(SplittableRandom random, int computed, int count, int place, int size) {
      List<int[]> all = company(random, size - count, place);
      all.add(place, Arrays.copyOfRange(tokens, computed, computed + count));
      int[] starts = new int[all.size()];
      Arrays.setAll(starts, s -> all.get(s).length == 1 ? random.nextInt(LENGTH) : 0);
      starts[place] = computed;
      int before = all.subList(0, place).stream().mapToInt(sequence -> sequence.length).sum();
      float[] found = forward.logits(all, starts);
      int width = forward.config.vocabSize();
      assertArrayEquals(
          Arrays.copyOfRange(alone, computed * width, (computed + count) * width),
          Arrays.copyOfRange(found, before * width, (before + count) * width),
          "%d tokens from %d in place %d of %d sequences, %d tokens"
              .formatted(count, computed, place, all.size(), size));
    }

    /** So many tokens of at least {@code place} other sequences: single ones, or of any number. */
    private List<int[]> company(SplittableRandom random, int total, int place) {
      List<int[]> all = new ArrayList<>();
      int longest = random.nextBoolean() ? 1 : Math.max(1, total / 3);
      for (int left = total; left > 0; ) {
        int needed = Math.max(0, place - all.size() - 1); // a token for each that must follow
        int length = Math.min(random.nextInt(1, longest + 1), left - needed);
        if (all.size() == MAX_SEQS - 2) {
          length = left;
        }
        all.add(random.ints(length, 0, forward.config.vocabSize()).toArray());
        left -= length;
      }
      return all;
    }
  }
}
