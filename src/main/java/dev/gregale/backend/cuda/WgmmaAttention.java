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
  private final KernelLauncher launcher;
  private final Workspace workspace;
  private final int multiprocessors;
  private final boolean takesDecodes;
  private final KernelFunction prefill;

  /**
   * @param takesDecodes whether it serves batches of one new token of every sequence, too
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
    prefill =
        modules.function(
            "paged_attention_prefill", "paged_attention_prefill_bf16_d128", SHARED_BYTES);
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

  @Override
  public void reserve(WorkspaceLimits limits) {
    work();
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
        .add(tileRows)
        .overlapping()
        .launch(prefill, multiprocessors, 1, 1, THREADS, SHARED_BYTES);
  }
}
