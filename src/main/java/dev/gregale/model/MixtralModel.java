package dev.gregale.model;

import dev.gregale.backend.AttentionShape;
import dev.gregale.backend.BlockScratch;
import dev.gregale.backend.ForwardBatch;
import dev.gregale.backend.ModelOps;
import dev.gregale.backend.Tensor;

/**
 * Mixtral (Jiang et al. 2024, "Mixtral of Experts"; Hugging Face's MixtralForCausalLM): the whole
 * forward pass, the same on every backend.
 *
 * <p>Legend: T tokens, D hidden. What a block is made of: {@link ModelOps#attentionBlock}, {@link
 * ModelOps#expertBlock}, {@link ModelOps#computeLogits}.
 */
public final class MixtralModel {
  private final MixtralConfig config;
  private final MixtralWeights weights;
  private final ModelOps ops;
  private final AttentionShape shape;
  private final float eps;

  public MixtralModel(MixtralConfig config, MixtralWeights weights, ModelOps ops) {
    this.config = config;
    this.weights = weights;
    this.ops = ops;
    this.shape = config.attentionShape();
    this.eps = config.rmsNormEps();
  }

  /** From the batch's token ids to the logits of its logit rows, adding its tokens to the cache. */
  public void forward(ForwardBatch batch, KvCache cache, Activations act) {
    Tensor residual = act.residual(); // [T, D]: every block adds to it
    ops.embed(residual, weights.embedding(), batch);
    for (int i = 0; i < config.numHiddenLayers(); i++) {
      LayerWeights layer = weights.layer(i);
      BlockScratch scratch = act.scratch().get(i);
      ops.attentionBlock(
          residual,
          residual,
          layer.attention(),
          eps,
          cache.layer(i),
          weights.ropeTable(),
          shape,
          batch,
          scratch);
      ops.expertBlock(residual, residual, layer.experts(), eps, batch, scratch);
    }
    ops.computeLogits(
        act.logits(),
        residual,
        weights.norm(),
        eps,
        weights.lmHead(),
        batch,
        act.scratch().getLast());
  }
}
