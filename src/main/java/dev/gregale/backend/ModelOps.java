package dev.gregale.backend;

/**
 * What the forward pass is made of, on one device or several.
 *
 * <p>Ops return nothing, write into arrays that the caller allocated, never allocate and never read
 * back: what a CUDA graph can capture. Where an op takes {@code rows}, rows at and beyond it are
 * neither read nor written. Every accumulation is in fp32. Tensors of one call must not overlap
 * unless the op says so.
 *
 * <p>Legend: T tokens, S sequences, R logit rows, D hidden, H query heads, G KV heads, d head dim,
 * E experts, K experts per token, I intermediate, V vocabulary.
 */
public interface ModelOps {

  /**
   * tokenIds[t] = drawn[sources[t]] where sources[t] is not negative: int32 {@code [rows]}. A token
   * outside the vocabulary, as NaN logits may give, becomes 0.
   *
   * @param drawn the tokens of an earlier step's rows of logits
   */
  void gatherTokens(Tensor tokenIds, Tensor sources, Tensor drawn, int vocabSize, int rows);

  /** out[t] = table[tokenIds[t]]: {@code [T, D]} from {@code [V, D]}. */
  void embed(Tensor out, Tensor table, ForwardBatch batch);

  /**
   * out += attention(rmsNorm(residual)), with the projections around it: fp32 {@code [T, D]}.
   * Writes the batch's keys and values into the cache.
   *
   * @param out the residual itself; or zeros, where what is computed is one device's part of a sum
   */
  void attentionBlock(
      Tensor out,
      Tensor residual,
      AttentionWeights weights,
      float eps,
      KvLayer kv,
      Tensor ropeTable,
      AttentionShape shape,
      ForwardBatch batch,
      BlockScratch scratch);

  /**
   * out += experts(rmsNorm(residual)): fp32 {@code [T, D]}. Padding rows (slot -1) may be left as
   * they are. Routing is over all experts; those whose weights are elsewhere count for nothing.
   *
   * @param out as in {@link #attentionBlock}
   */
  void expertBlock(
      Tensor out,
      Tensor residual,
      ExpertWeights weights,
      float eps,
      ForwardBatch batch,
      BlockScratch scratch);

  /** logits = rmsNorm(residual) * lmHead^T of the batch's logit rows: fp32 {@code [R, V]}. */
  void computeLogits(
      Tensor logits,
      Tensor residual,
      Tensor norm,
      float eps,
      Tensor lmHead,
      ForwardBatch batch,
      BlockScratch scratch);

  /**
   * Draws or scores one token per row; see {@link SamplingInputs}. May destroy the logits.
   *
   * @param logits {@code [rows, V]}
   */
  void sample(SamplingOutputs out, Tensor logits, SamplingInputs in, int rows);
}
