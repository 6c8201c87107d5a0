package dev.gregale.backend.cuda;

import dev.gregale.backend.WorkspaceLimits;

/** Attention within a block of few tokens: {@link DecodeKernels.AttentionBlock}. */
interface BlockAttention {

  /**
   * Attends over the cache, in which the batch's own keys and values are.
   *
   * @param context rows {@code [T, H d]}, or with {@code tileRows} the token tile of the next
   *     product
   * @param queries rows of {@code queryStride} elements
   */
  void launch(
      DecodeKernels.AttentionBlock block,
      long context,
      long queries,
      int queryStride,
      int tileRows);

  /** Makes the scratch memory for batches up to the limits. */
  void reserve(WorkspaceLimits limits, int maxTokens);
}
