package dev.gregale.config;

import dev.gregale.backend.Backend;
import dev.gregale.backend.cpu.CpuBackend;
import dev.gregale.checkpoint.Checkpoint;
import dev.gregale.checkpoint.CheckpointException;
import dev.gregale.convert.LogitsDifference;
import dev.gregale.convert.ModelComparison;
import dev.gregale.model.MixtralConfig;
import dev.gregale.model.Precision;
import dev.gregale.model.PromptLogits;
import dev.gregale.tokenizer.DjlTokenizer;
import dev.gregale.tokenizer.Tokenizer;
import dev.gregale.tokenizer.TokenizerLoadException;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.List;
import java.util.Random;
import java.util.function.Function;

/**
 * Compares two checkpoints on a few prompts, on the CPU, where a model's logits are the same bits
 * every time. One model is in memory at a time.
 */
public final class LogitsComparison implements ModelComparison {
  private static final int MAX_TOKENS = 64;
  private static final int RANDOM_PROMPTS = 4;
  private static final int RANDOM_TOKENS = 32;
  private static final int MAX_TEXT = 10_000;
  private static final List<String> TEXTS =
      List.of(
          "Once upon a time there was a king who had three sons, and the youngest of them was"
              + " called the fool.",
          "The north-east wind of the western Mediterranean is called the gregale; it brings"
              + " rough seas in winter.",
          "def fibonacci(n):\n    return n if n < 2 else fibonacci(n - 1) + fibonacci(n - 2)\n",
          "1 + 1 = 2, 2 + 2 = 4, 4 + 4 = 8, and 8 + 8 =");

  @Override
  public LogitsDifference compare(Path source, Path converted) {
    List<int[]> prompts = prompts(source, MixtralConfig.read(source).vocabSize());
    return LogitsDifference.of(prompts, logits(source, prompts), logits(converted, prompts));
  }

  private static List<float[]> logits(Path directory, List<int[]> prompts) {
    try (Backend backend = CpuBackend.create(0)) {
      long needed = bytes(directory);
      if (needed > backend.freeBytes()) {
        throw new CheckpointException(
            "%s: its logits take %d MiB of memory for the weights, %d MiB are free; leave the"
                    .formatted(directory, needed >> 20, backend.freeBytes() >> 20)
                + " comparison out: every tensor is read back and compared in any case");
      }
      return PromptLogits.of(backend, directory, Precision.AS_STORED, prompts);
    }
  }

  private static long bytes(Path directory) {
    try (Checkpoint checkpoint = Checkpoint.open(directory)) {
      return checkpoint.names().stream().mapToLong(n -> checkpoint.spec(n).bytes()).sum();
    }
  }

  /** Texts where there is a tokenizer, random ids where not. */
  private static List<int[]> prompts(Path directory, int vocabSize) {
    Function<Tokenizer, List<int[]>> encode =
        tokenizer ->
            TEXTS.stream()
                .map(text -> tokenizer.encode(text, true))
                .map(ids -> Arrays.copyOf(ids, Math.min(ids.length, MAX_TOKENS)))
                .toList();
    try {
      return DjlTokenizer.open(directory, MAX_TEXT).map(encode).orElseGet(() -> random(vocabSize));
    } catch (TokenizerLoadException e) {
      throw new CheckpointException(String.valueOf(e.getMessage()), e);
    }
  }

  private static List<int[]> random(int vocabSize) {
    return new Random(1)
        .ints(RANDOM_PROMPTS)
        .mapToObj(seed -> new Random(seed).ints(RANDOM_TOKENS, 0, vocabSize).toArray())
        .toList();
  }
}
