package dev.gregale.model;

import dev.gregale.backend.Backend;
import dev.gregale.backend.ForwardBatch;
import dev.gregale.backend.ModelOps;
import dev.gregale.backend.Readback;
import dev.gregale.tensor.DType;
import dev.gregale.tensor.Shape;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;

/** A model on a backend, without scheduler: packs sequences, runs them, hands out all logits. */
final class ForwardFixture {
  private static final int MAX_SEQS = 16;
  private final int maxSeqs;
  private final Backend backend;
  private final MixtralModel model;
  private final KvCache cache;
  private final Activations activations;
  private final ForwardBatch batch;
  private final int maxTokens;
  private final int blockSize;
  private final int blocksPerSeq;
  final MixtralConfig config;

  ForwardFixture(Backend backend, Path directory, LoadFormat format, int maxTokens, int maxLen) {
    this(backend, backend.kernels(), directory, format, maxTokens, maxLen);
  }

  ForwardFixture(
      Backend backend, Path directory, LoadFormat format, int maxTokens, int maxLen, int maxSeqs) {
    this(backend, directory, format, Precision.AS_STORED, maxTokens, maxLen, maxSeqs);
  }

  ForwardFixture(
      Backend backend,
      Path directory,
      LoadFormat format,
      Precision precision,
      int maxTokens,
      int maxLen,
      int maxSeqs) {
    this(
        backend,
        backend.kernels(),
        directory,
        format,
        maxTokens,
        maxLen,
        maxSeqs,
        precision,
        backend.kvCacheDType());
  }

  /** The demo model, quantised while it is loaded. */
  ForwardFixture(
      Backend backend, Precision precision, DType cacheDType, int maxTokens, int maxLen) {
    this(backend, Golden.DEMO_MODEL, precision, cacheDType, maxTokens, maxLen, MAX_SEQS);
  }

  ForwardFixture(
      Backend backend,
      Path directory,
      Precision precision,
      DType cacheDType,
      int maxTokens,
      int maxLen,
      int maxSeqs) {
    this(
        backend,
        backend.kernels(),
        directory,
        LoadFormat.AUTO,
        maxTokens,
        maxLen,
        maxSeqs,
        precision,
        cacheDType);
  }

  ForwardFixture(
      Backend backend,
      ModelOps kernels,
      Path directory,
      LoadFormat format,
      int maxTokens,
      int maxLen) {
    this(
        backend,
        kernels,
        directory,
        format,
        maxTokens,
        maxLen,
        MAX_SEQS,
        Precision.AS_STORED,
        backend.kvCacheDType());
  }

  /** The demo model, quantised while it is loaded, on ops that need not be the backend's own. */
  ForwardFixture(
      Backend backend, ModelOps kernels, Precision precision, DType cacheDType, int maxLen) {
    this(
        backend,
        kernels,
        Golden.DEMO_MODEL,
        LoadFormat.AUTO,
        maxLen,
        maxLen,
        MAX_SEQS,
        precision,
        cacheDType);
  }

  private ForwardFixture(
      Backend backend,
      ModelOps kernels,
      Path directory,
      LoadFormat format,
      int maxTokens,
      int maxLen,
      int maxSeqs,
      Precision precision,
      DType cacheDType) {
    this.backend = backend;
    this.maxSeqs = maxSeqs;
    this.maxTokens = maxTokens;
    this.blockSize = backend.kvBlockSize();
    this.blocksPerSeq = Math.ceilDiv(maxLen, blockSize);
    try (ModelLoader loader = ModelLoader.open(directory, format, precision)) {
      this.config = loader.config();
      this.model = new MixtralModel(config, loader.upload(backend, maxLen, layer -> {}), kernels);
    }
    this.cache = KvCache.allocate(backend, config, maxSeqs * blocksPerSeq, blockSize, cacheDType);
    backend.reserve(ModelRunner.workspaceLimits(config, maxTokens, maxSeqs, maxLen));
    this.activations = Activations.allocate(backend, config, maxTokens, maxTokens);
    this.batch =
        new ForwardBatch(
            ints(maxTokens),
            ints(maxTokens),
            ints(maxTokens),
            ints(maxSeqs + 1),
            ints(maxSeqs),
            backend.allocate(DType.I32, Shape.of(maxSeqs, blocksPerSeq)),
            ints(maxTokens));
  }

  private dev.gregale.backend.Tensor ints(int length) {
    return backend.allocate(DType.I32, Shape.of(length));
  }

  /** Which experts the tokens of the last call went to: {@code [L, T, K]}. */
  int[] expertIds(int tokens) {
    int[] ids = new int[config.numHiddenLayers() * tokens * config.numExpertsPerTok()];
    Readback readback = backend.readback(activations.expertIds());
    readback.start(tokens * config.numExpertsPerTok());
    readback.finish(ids);
    return ids;
  }

  /** All logits of new sequences, packed: {@code [T, V]}. */
  float[] logits(List<int[]> sequences) {
    List<int[]> starts = new ArrayList<>();
    sequences.forEach(sequence -> starts.add(new int[] {0}));
    return logits(sequences, starts.stream().mapToInt(start -> start[0]).toArray());
  }

  /**
   * All logits of the tokens that follow {@code computed[s]} tokens of sequence s that earlier
   * calls have put in the cache.
   */
  float[] logits(List<int[]> newTokens, int[] computed) {
    int[] ids = new int[maxTokens];
    int[] positions = new int[maxTokens];
    int[] slots = new int[maxTokens];
    int[] rows = new int[maxTokens];
    int[] cu = new int[maxSeqs + 1];
    int[] contexts = new int[maxSeqs];
    int[] tables = new int[maxSeqs * blocksPerSeq];
    int t = 0;
    for (int s = 0; s < newTokens.size(); s++) {
      for (int b = 0; b < blocksPerSeq; b++) {
        tables[s * blocksPerSeq + b] = b * maxSeqs + s; // interleaved, so that order matters
      }
      for (int i = 0; i < newTokens.get(s).length; i++, t++) {
        int position = computed[s] + i;
        ids[t] = newTokens.get(s)[i];
        positions[t] = position;
        slots[t] =
            tables[s * blocksPerSeq + position / blockSize] * blockSize + position % blockSize;
        rows[t] = t;
      }
      cu[s + 1] = t;
      contexts[s] = computed[s] + newTokens.get(s).length;
    }
    backend.write(batch.tokenIds(), ids, t);
    backend.write(batch.positions(), positions, t);
    backend.write(batch.slotMapping(), slots, t);
    backend.write(batch.cuSeqLens(), cu, newTokens.size() + 1);
    backend.write(batch.contextLens(), contexts, newTokens.size());
    backend.write(batch.blockTables(), tables, newTokens.size() * blocksPerSeq);
    backend.write(batch.logitRows(), rows, t);
    batch.resize(t, newTokens.size(), t);
    model.forward(batch, cache, activations);
    float[] logits = new float[t * config.vocabSize()];
    backend.read(activations.logits(), logits, logits.length);
    return logits;
  }
}
