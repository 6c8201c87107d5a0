package dev.gregale.backend.cuda;

import dev.gregale.backend.AttentionShape;
import dev.gregale.backend.BlockScratch;
import dev.gregale.backend.ForwardBatch;
import dev.gregale.backend.WorkspaceLimits;

/** One way to compute whole blocks of a batch of few tokens, at the speed that weights are read. */
interface DecodeKernels {

  /** The arrays of an attention block; see {@code Kernels.attentionBlock}. */
  record AttentionBlock(
      CudaTensor out,
      CudaTensor residual,
      CudaTensor norm,
      CudaTensor qkv,
      CudaTensor output,
      float eps,
      CudaKvLayer kv,
      CudaTensor ropeTable,
      AttentionShape shape,
      ForwardBatch batch,
      BlockScratch scratch) {

    /** D. */
    int hidden() {
      return output.shape().intDim(0);
    }

    /** H d. */
    int contextWidth() {
      return output.shape().intDim(1);
    }

    int tokens() {
      return batch.numTokens();
    }
  }

  /** The arrays of an expert block; see {@code Kernels.expertBlock}. */
  record ExpertBlock(
      CudaTensor out,
      CudaTensor residual,
      CudaTensor norm,
      CudaTensor router,
      CudaTensor gateUp,
      CudaTensor down,
      int firstExpert,
      float eps,
      ForwardBatch batch,
      BlockScratch scratch) {

    /** Experts whose weights are here, from the first on. */
    int numExperts() {
      return down.shape().intDim(0);
    }

    /** E: experts that tokens are routed to. */
    int routedExperts() {
      return router.shape().intDim(0);
    }

    /** D. */
    int hidden() {
      return down.shape().intDim(1);
    }

    /** I with its padding. */
    int intermediate() {
      return TiledLayout.kTiles(down.shape().intDim(2)) * TiledLayout.TILE_K;
    }

    /** K. */
    int perToken() {
      return scratch.routing().expertIds().shape().intDim(1);
    }

    int tokens() {
      return batch.numTokens();
    }

    CudaTensor expertIds() {
      return CudaTensor.of(scratch.routing().expertIds());
    }

    CudaTensor expertWeights() {
      return CudaTensor.of(scratch.routing().expertWeights());
    }
  }

  /** The arrays of the last product; see {@code Kernels.computeLogits}. */
  record Logits(
      CudaTensor logits,
      CudaTensor residual,
      CudaTensor norm,
      CudaTensor lmHead,
      float eps,
      ForwardBatch batch) {

    /** D. */
    int hidden() {
      return lmHead.shape().intDim(1);
    }

    /** V. */
    int vocabSize() {
      return lmHead.shape().intDim(0);
    }

    int rows() {
      return batch.numLogitRows();
    }
  }

  /** What these kernels can do. */
  DecodeLimits limits();

  void launch(AttentionBlock block);

  void launch(ExpertBlock block);

  void launch(Logits logits);

  /** Makes the scratch memory for batches up to the limits. */
  void reserve(WorkspaceLimits limits);
}
