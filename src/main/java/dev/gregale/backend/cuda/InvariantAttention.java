package dev.gregale.backend.cuda;

import dev.gregale.backend.WorkspaceLimits;
import dev.gregale.tensor.DType;

/**
 * What prefill attends with, for a block of few tokens: a row has the same bits in batches of any
 * size, as a decode and in every chunk of its prompt.
 */
final class InvariantAttention implements BlockAttention {
  private final WgmmaAttention wgmma;
  private final GeneralAttention general;
  private final RowTiler tiler;
  private final KvCodes.Kernels kvCodes;

  InvariantAttention(
      KernelLauncher launcher,
      KernelModules modules,
      WgmmaAttention wgmma,
      GeneralAttention general) {
    this.wgmma = wgmma;
    this.general = general;
    tiler = new RowTiler(launcher, modules);
    kvCodes = new KvCodes.Kernels(launcher, modules);
  }

  @Override
  public void reserve(WorkspaceLimits limits, int maxTokens) {} // both kernels' scratch is theirs

  @Override
  public void launch(
      DecodeKernels.AttentionBlock block,
      long context,
      long queries,
      int queryStride,
      int tileRows) {
    kvCodes.store(block.kv(), block.shape(), block.batch());
    kvCodes.expand(block.kv(), block.shape(), block.batch());
    if (wgmma.accepts(block.kv(), block.shape(), block.batch())) {
      wgmma.launch(context, queries, block.kv(), block.shape(), block.batch(), tileRows);
      return;
    }
    CudaTensor rows = CudaTensor.of(block.scratch().context(), DType.BF16, "the context");
    CudaTensor qkv = CudaTensor.of(block.scratch().qkv(), DType.BF16, "qkv");
    general.launch(rows, qkv, block.kv(), block.shape(), block.batch());
    tiler.launch(
        context, rows.address(), block.tokens(), block.contextWidth(), TiledLayout.MAX_TOKEN_ROWS);
  }
}
