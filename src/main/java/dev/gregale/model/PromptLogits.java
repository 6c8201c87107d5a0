package dev.gregale.model;

import dev.gregale.backend.Backend;
import dev.gregale.backend.ForwardBatch;
import dev.gregale.backend.Tensor;
import dev.gregale.checkpoint.CheckpointException;
import dev.gregale.tensor.DType;
import dev.gregale.tensor.Shape;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.stream.IntStream;

/** A checkpoint's logits for prompts, one prompt at a time, without scheduler or server. */
public final class PromptLogits {
  private static final int BLOCK_SIZE = 16;

  private final Backend backend;
  private final MixtralConfig config;
  private final MixtralModel model;
  private final KvCache cache;
  private final Activations activations;
  private final ForwardBatch batch;

  private PromptLogits(Backend backend, ModelLoader loader, int longest) {
    int blocks = Math.ceilDiv(longest, BLOCK_SIZE);
    this.backend = backend;
    this.config = loader.config();
    backend.reserve(ModelRunner.workspaceLimits(config, longest, 1, blocks * BLOCK_SIZE));
    this.model =
        new MixtralModel(config, loader.upload(backend, longest, layer -> {}), backend.kernels());
    this.cache = KvCache.allocate(backend, config, blocks, BLOCK_SIZE, backend.kvCacheDType());
    this.activations = Activations.allocate(backend, config, longest, longest);
    this.batch =
        new ForwardBatch(
            ints(longest),
            ints(longest),
            ints(longest),
            ints(2),
            ints(1),
            backend.allocate(DType.I32, Shape.of(1, blocks)),
            ints(longest));
    backend.write(batch.blockTables(), IntStream.range(0, blocks).toArray(), blocks);
  }

  private Tensor ints(int length) {
    return backend.allocate(DType.I32, Shape.of(length));
  }

  /**
   * Loads a checkpoint onto a backend, which is of no other use then, and runs prompts.
   *
   * @param precision of its weights
   * @param prompts token ids of each
   * @return of each prompt {@code [T, V]}, row-major
   * @throws CheckpointException if the directory holds no model that can be run, or a token id is
   *     not in its vocabulary
   */
  public static List<float[]> of(
      Backend backend, Path directory, Precision precision, List<int[]> prompts) {
    int longest = prompts.stream().mapToInt(prompt -> prompt.length).max().orElse(1);
    try (ModelLoader loader = ModelLoader.open(directory, LoadFormat.AUTO, precision)) {
      int vocabSize = loader.config().vocabSize();
      prompts.forEach(prompt -> requireIds(directory, prompt, vocabSize));
      PromptLogits model = new PromptLogits(backend, loader, longest);
      List<float[]> logits = new ArrayList<>();
      prompts.forEach(prompt -> logits.add(model.forward(prompt)));
      return logits;
    }
  }

  private static void requireIds(Path directory, int[] prompt, int vocabSize) {
    if (IntStream.of(prompt).anyMatch(id -> id < 0 || id >= vocabSize)) {
      throw new CheckpointException(
          directory + ": its tokenizer has ids beyond the model's vocabulary of " + vocabSize);
    }
  }

  private float[] forward(int[] prompt) {
    int tokens = prompt.length;
    int[] rows = IntStream.range(0, tokens).toArray();
    backend.write(batch.tokenIds(), prompt, tokens);
    backend.write(batch.positions(), rows, tokens);
    backend.write(batch.slotMapping(), rows, tokens);
    backend.write(batch.cuSeqLens(), new int[] {0, tokens}, 2);
    backend.write(batch.contextLens(), new int[] {tokens}, 1);
    backend.write(batch.logitRows(), rows, tokens);
    batch.resize(tokens, 1, tokens);
    model.forward(batch, cache, activations);
    float[] logits = new float[tokens * config.vocabSize()];
    backend.read(activations.logits(), logits, logits.length);
    return logits;
  }
}
