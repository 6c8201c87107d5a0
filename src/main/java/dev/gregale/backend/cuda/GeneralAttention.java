package dev.gregale.backend.cuda;

import dev.gregale.backend.AttentionShape;
import dev.gregale.backend.ForwardBatch;
import dev.gregale.backend.WorkspaceLimits;

/**
 * Any even head dim up to 256 on any GPU: {@code paged_attention.cu}. Sequences with one new token
 * go split by split, others by tiles of 64 rows; where rows must not depend on their batch all go
 * by tiles.
 */
final class GeneralAttention implements AttentionKernel {
  private static final String SOURCE = "paged_attention";
  private static final int MAX_SPLITS = 32;
  private static final int MIN_SPLIT_TOKENS = 256;
  private static final int SPLIT_GRAIN = 64;
  private static final int PREFILL_ROWS = 64;
  private static final int HEADS_PER_TILE = 16;
  private static final int COMBINE_THREADS = 128;

  /** The two kernels for head dims up to {@code dim}. */
  private record Variant(
      int dim,
      KernelFunction prefill,
      int prefillShared,
      KernelFunction decode,
      int decodeShared,
      int decodeThreads) {

    static Variant load(KernelModules modules, int dim, int keys, int decodeWarps) {
      int tiles = 4 * keys * dim * 2;
      int prefillShared = PREFILL_ROWS * dim * 2 + tiles;
      int decodeShared = HEADS_PER_TILE * dim * 2 + tiles;
      return new Variant(
          dim,
          modules.function(SOURCE, "paged_attention_prefill_bf16_d" + dim, prefillShared),
          prefillShared,
          modules.function(SOURCE, "paged_attention_decode_bf16_d" + dim, decodeShared),
          decodeShared,
          decodeWarps * 32);
    }
  }

  private final KernelLauncher launcher;
  private final Workspace workspace;
  private final boolean deterministic;
  private final Variant[] variants;
  private final KernelFunction combine;

  GeneralAttention(
      KernelLauncher launcher, KernelModules modules, Workspace workspace, boolean deterministic) {
    this.launcher = launcher;
    this.workspace = workspace;
    this.deterministic = deterministic;
    variants =
        new Variant[] {
          Variant.load(modules, 32, 64, 4),
          Variant.load(modules, 64, 64, 4),
          Variant.load(modules, 128, 64, 4),
          Variant.load(modules, 256, 32, 2),
        };
    combine = modules.function(SOURCE, "paged_attention_combine_bf16");
  }

  @Override
  public boolean accepts(CudaKvLayer kv, AttentionShape shape, ForwardBatch batch) {
    return shape.headDim() % 2 == 0 && shape.headDim() <= 256;
  }

  private Variant variant(int headDim) {
    for (Variant variant : variants) {
      if (headDim <= variant.dim()) {
        return variant;
      }
    }
    throw new IllegalArgumentException("head dim " + headDim + " is above 256");
  }

  /** Fixed by what a context may hold, so that a row's splits depend on its own length alone. */
  private static int splitTokens(int maxContext) {
    int tokens = Math.max(MIN_SPLIT_TOKENS, Math.ceilDiv(maxContext, MAX_SPLITS));
    return Math.ceilDiv(tokens, SPLIT_GRAIN) * SPLIT_GRAIN;
  }

  @Override
  public void reserve(WorkspaceLimits limits) {
    int splits = Math.ceilDiv(limits.contextLen(), splitTokens(limits.contextLen()));
    partials(limits.seqs(), limits.attention(), splits);
  }

  private long partials(int seqs, AttentionShape shape, int splits) {
    long rows = splits == 1 ? 0 : (long) seqs * shape.numHeads() * splits;
    return workspace.address(Workspace.Use.ATTENTION_PARTIALS, 4 * rows * (shape.headDim() + 2));
  }

  @Override
  public void launch(
      CudaTensor out, CudaTensor qkv, CudaKvLayer kv, AttentionShape shape, ForwardBatch batch) {
    boolean allNew = batch.numTokens() == batch.numSeqs(); // every sequence has one new token
    if (deterministic || !allNew) {
      prefill(out, qkv, kv, shape, batch);
    }
    if (!deterministic && (allNew || batch.numSeqs() > 1)) {
      decode(out, qkv, kv, shape, batch);
    }
  }

  private void prefill(
      CudaTensor out, CudaTensor qkv, CudaKvLayer kv, AttentionShape shape, ForwardBatch batch) {
    Variant variant = variant(shape.headDim());
    int group = shape.numHeads() / shape.numKvHeads();
    int tiles = Math.multiplyExact(batch.numTokens(), group) / PREFILL_ROWS + batch.numSeqs();
    launcher.begin().add(out);
    addInputs(qkv, kv, shape, batch)
        .add(deterministic ? 1 : 0)
        .launch(variant.prefill(), tiles, shape.numKvHeads(), 1, 128, variant.prefillShared());
  }

  private void decode(
      CudaTensor out, CudaTensor qkv, CudaKvLayer kv, AttentionShape shape, ForwardBatch batch) {
    Variant variant = variant(shape.headDim());
    int maxContext = Math.multiplyExact(batch.blockTables().shape().intDim(1), kv.blockSize());
    int splitTokens = splitTokens(maxContext);
    int splits = Math.ceilDiv(maxContext, splitTokens);
    int headTiles = Math.ceilDiv(shape.numHeads() / shape.numKvHeads(), HEADS_PER_TILE);
    long partials = partials(batch.numSeqs(), shape, splits);
    launcher.begin().add(out).add(partials);
    addInputs(qkv, kv, shape, batch)
        .add(splitTokens)
        .launch(
            variant.decode(),
            splits,
            shape.numKvHeads() * headTiles,
            batch.numSeqs(),
            variant.decodeThreads(),
            variant.decodeShared());
    if (splits > 1) {
      launcher
          .begin()
          .add(out)
          .add(partials)
          .add(CudaTensor.of(batch.cuSeqLens()))
          .add(CudaTensor.of(batch.contextLens()))
          .add(shape.numHeads())
          .add(splits)
          .add(shape.headDim())
          .add(shape.slidingWindow())
          .add(splitTokens)
          .launch(combine, shape.numHeads(), batch.numSeqs(), 1, COMBINE_THREADS, 0);
    }
  }

  private KernelLauncher addInputs(
      CudaTensor qkv, CudaKvLayer kv, AttentionShape shape, ForwardBatch batch) {
    return launcher
        .add(qkv)
        .add(kv.keys().address())
        .add(kv.values().address())
        .add(kv.blockSize())
        .add(CudaTensor.of(batch.cuSeqLens()))
        .add(CudaTensor.of(batch.contextLens()))
        .add(CudaTensor.of(batch.blockTables()))
        .add(batch.numSeqs())
        .add(batch.blockTables().shape().intDim(1))
        .add(shape.numHeads())
        .add(shape.numKvHeads())
        .add(shape.headDim())
        .add(shape.slidingWindow())
        .add(shape.scale());
  }
}
