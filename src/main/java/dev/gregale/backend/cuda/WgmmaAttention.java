package dev.gregale.backend.cuda;

import dev.gregale.backend.AttentionShape;
import dev.gregale.backend.ForwardBatch;
import dev.gregale.backend.WorkspaceLimits;

/**
 * Sequences of any number of new tokens on Hopper, head dim 128: {@code
 * sm90a/paged_attention_prefill.cu}.
 */
final class WgmmaAttention implements AttentionKernel {
  private static final int SHARED_BYTES = 229_568;
  private static final int THREADS = 384;
  private static final int HEAD_DIM = 128;
  private static final int TILE_KEYS = 128;
  private static final int MIN_BLOCK = 8;
  private static final int RUN_KEYS = 512;
  private static final int STATE_BYTES = 4 * (HEAD_DIM + 2);
  private static final int ROWS_OF_WARPGROUP = 64;
  private static final int WARPS_OF_WARPGROUP = 4;
  private final KernelLauncher launcher;
  private final Workspace workspace;
  private final int multiprocessors;
  private final boolean takesDecodes;
  private final KernelFunction attention;

  /**
   * @param takesDecodes whether it serves batches of one new token of every sequence, too; then
   *     keys are added up in runs, of which few rows' are shared out
   */
  WgmmaAttention(
      KernelLauncher launcher,
      KernelModules modules,
      Workspace workspace,
      int multiprocessors,
      boolean takesDecodes) {
    this.launcher = launcher;
    this.workspace = workspace;
    this.multiprocessors = multiprocessors;
    this.takesDecodes = takesDecodes;
    attention =
        modules.function(
            "paged_attention_prefill",
            takesDecodes ? "paged_attention_runs_bf16_d128" : "paged_attention_prefill_bf16_d128",
            SHARED_BYTES);
  }

  @Override
  public boolean accepts(CudaKvLayer kv, AttentionShape shape, ForwardBatch batch) {
    int block = kv.blockSize();
    boolean dividesTile = block >= MIN_BLOCK && TILE_KEYS % block == 0;
    return shape.headDim() == HEAD_DIM
        && shape.numHeads() / shape.numKvHeads() <= TILE_KEYS
        && (dividesTile || block % TILE_KEYS == 0)
        && (takesDecodes || batch.numTokens() != batch.numSeqs());
  }

  private long work() {
    return workspace.address(Workspace.Use.ATTENTION_WORK, 2 * Integer.BYTES);
  }

  private static int maxRuns(int contextLen) {
    return Math.ceilDiv(contextLen, RUN_KEYS);
  }

  /** The most tokens whose rows one warpgroup has. */
  private static int fewTokens(AttentionShape shape) {
    return ROWS_OF_WARPGROUP / (shape.numHeads() / shape.numKvHeads());
  }

  /** Of rows between their runs: those of the blocks' tiles, or all runs of few tokens. */
  private long states(AttentionShape shape, int maxRuns) {
    long ofFew = (long) fewTokens(shape) * shape.numHeads() * maxRuns;
    long ofBlocks = (long) multiprocessors * TILE_KEYS;
    return workspace.address(
        Workspace.Use.ATTENTION_PARTIALS, STATE_BYTES * Math.max(ofFew, ofBlocks));
  }

  private long counters(AttentionShape shape) {
    return workspace.address(
        Workspace.Use.ATTENTION_COUNTERS,
        (long) fewTokens(shape) * shape.numKvHeads() * WARPS_OF_WARPGROUP * Integer.BYTES);
  }

  @Override
  public void reserve(WorkspaceLimits limits) {
    work();
    if (takesDecodes) {
      states(limits.attention(), maxRuns(limits.contextLen()));
      counters(limits.attention());
    }
  }

  @Override
  public void launch(
      CudaTensor out, CudaTensor qkv, CudaKvLayer kv, AttentionShape shape, ForwardBatch batch) {
    launch(out.address(), qkv.address(), kv, shape, batch, 0);
  }

  /**
   * @param tileRows 0, or how high the one token tile is that is written instead of rows
   */
  void launch(
      long out, long qkv, CudaKvLayer kv, AttentionShape shape, ForwardBatch batch, int tileRows) {
    launcher
        .begin()
        .add(out)
        .add(qkv)
        .add(kv.keys().address())
        .add(kv.values().address())
        .add(CudaTensor.of(batch.blockTables()))
        .add(CudaTensor.of(batch.cuSeqLens()))
        .add(CudaTensor.of(batch.contextLens()))
        .add(work())
        .add(batch.numSeqs())
        .add(shape.numHeads())
        .add(shape.numKvHeads())
        .add(kv.blockSize())
        .add(batch.blockTables().shape().intDim(1))
        .add(shape.slidingWindow())
        .add(shape.scale())
        .add(tileRows);
    if (takesDecodes) {
      int maxRuns = maxRuns(batch.blockTables().shape().intDim(1) * kv.blockSize());
      boolean isShared = batch.numTokens() <= fewTokens(shape);
      launcher.add(states(shape, maxRuns)).add(counters(shape)).add(maxRuns).add(isShared ? 1 : 0);
    }
    launcher.overlapping().launch(attention, multiprocessors, 1, 1, THREADS, SHARED_BYTES);
  }
}
