package dev.gregale.model;

import dev.gregale.backend.AttentionShape;
import dev.gregale.backend.ForwardBatch;
import dev.gregale.backend.Kernels;
import dev.gregale.backend.KvLayer;

/**
 * Mixtral (Jiang et al. 2024, "Mixtral of Experts"; Hugging Face's MixtralForCausalLM): the whole
 * forward pass, the same on every backend.
 *
 * <p>Legend: T tokens, R rows of logits, D hidden, H query heads, G KV heads, d head dim, E
 * experts, K experts per token, V vocabulary.
 */
public final class MixtralModel {
  private final MixtralConfig config;
  private final MixtralWeights weights;
  private final Kernels ops;
  private final AttentionShape shape;
  private final float eps;

  public MixtralModel(MixtralConfig config, MixtralWeights weights, Kernels ops) {
    this.config = config;
    this.weights = weights;
    this.ops = ops;
    this.shape = config.attentionShape();
    this.eps = config.rmsNormEps();
  }

  /** From the batch's token ids to the logits of its logit rows, adding its tokens to the cache. */
  public void forward(ForwardBatch batch, KvCache cache, Activations act) {
    int tokens = batch.numTokens();
    ops.embed(act.residual(), weights.embedding(), batch); // [T, D]
    ops.rmsNorm(act.hidden(), act.residual(), weights.layer(0).inputNorm(), eps, tokens); // [T, D]
    for (int i = 0; i < config.numHiddenLayers(); i++) {
      LayerWeights layer = weights.layer(i);
      attention(layer, cache.layer(i), batch, act); // hidden -> update
      ops.addRmsNorm(
          act.hidden(), act.residual(), act.update(), layer.postAttentionNorm(), eps, tokens);
      experts(layer, tokens, act); // hidden -> update
      ops.addRmsNorm(act.hidden(), act.residual(), act.update(), weights.normAfter(i), eps, tokens);
    }
    int rows = batch.numLogitRows();
    ops.gatherRows(act.lastHidden(), act.hidden(), batch.logitRows(), rows); // [R, D]
    ops.matmul(act.logits(), act.lastHidden(), weights.lmHead(), rows); // [R, V]
  }

  private void attention(LayerWeights layer, KvLayer kv, ForwardBatch batch, Activations act) {
    int tokens = batch.numTokens();
    ops.matmul(act.qkv(), act.hidden(), layer.qkv(), tokens); // [T, (H + 2G) d]
    ops.ropeAndCacheKv(act.qkv(), kv, weights.ropeTable(), shape, batch);
    ops.pagedAttention(act.context(), act.qkv(), kv, shape, batch); // [T, H d]
    ops.matmul(act.update(), act.context(), layer.output(), tokens); // [T, D]
  }

  private void experts(LayerWeights layer, int tokens, Activations act) {
    ops.matmul(act.routerLogits(), act.hidden(), layer.router(), tokens); // [T, E]
    ops.routeTopK(act.routing(), act.routerLogits(), tokens); // [T, K]
    ops.expertFeedForward(
        act.update(), act.hidden(), act.routing(), layer.gateUp(), layer.down(), tokens); // [T, D]
  }
}
