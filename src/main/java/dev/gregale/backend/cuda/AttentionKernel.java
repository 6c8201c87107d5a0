package dev.gregale.backend.cuda;

import dev.gregale.backend.AttentionShape;
import dev.gregale.backend.ForwardBatch;
import dev.gregale.backend.WorkspaceLimits;

/** One way to compute attention over the paged cache. */
interface AttentionKernel {

  boolean accepts(CudaKvLayer kv, AttentionShape shape, ForwardBatch batch);

  void launch(
      CudaTensor out, CudaTensor qkv, CudaKvLayer kv, AttentionShape shape, ForwardBatch batch);

  /** Makes the scratch memory for batches up to the limits. */
  void reserve(WorkspaceLimits limits);
}
