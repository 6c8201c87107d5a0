package dev.gregale.backend;

/**
 * The steps of Mixtral, each a step that the architecture names. How many kernels an op takes, and
 * in what layout its data lies, is the backend's business.
 *
 * <p>Ops return nothing, write into arrays that the caller allocated, never allocate and never read
 * back: what a CUDA graph can capture. Where an op takes {@code rows}, rows at and beyond it are
 * neither read nor written. Every accumulation is in fp32. Tensors of one call must not overlap
 * unless the op says so.
 *
 * <p>Legend: T tokens, S sequences, R logit rows, D hidden, H query heads, G KV heads, d head dim,
 * E experts, K experts per token, I intermediate, V vocabulary.
 */
public interface Kernels {

  /** out[t] = table[tokenIds[t]]: {@code [T, D]} from {@code [V, D]}. */
  void embed(Tensor out, Tensor table, ForwardBatch batch);

  /**
   * out = x / sqrt(mean(x^2) + eps) * weight, per row: {@code [rows, D]}. The gain is applied after
   * rounding nothing: all fp32 (Zhang and Sennrich 2019; HF's MixtralRMSNorm).
   */
  void rmsNorm(Tensor out, Tensor x, Tensor weight, float eps, int rows);

  /** residual += x; out = rmsNorm(residual): {@code [rows, D]}. {@code out} may be {@code x}. */
  void addRmsNorm(Tensor out, Tensor residual, Tensor x, Tensor weight, float eps, int rows);

  /** out = x * weight^T: {@code [rows, N]} from {@code [rows, M]} and {@code [N, M]}. */
  void matmul(Tensor out, Tensor x, Tensor weight, int rows);

  /**
   * Rotates queries and keys in place (half-split form, angle pairs (i, i + d/2)) and writes keys
   * and values into the cache at the batch's slots; rows with slot -1 write no cache.
   *
   * @param qkv {@code [T, (H + 2G) d]}
   * @param ropeTable {@code [positions, d]}: d/2 cosines, then d/2 sines
   */
  void ropeAndCacheKv(
      Tensor qkv, KvLayer kv, Tensor ropeTable, AttentionShape shape, ForwardBatch batch);

  /**
   * Causal softmax attention of each token over its sequence's cached keys: {@code [T, H d]}. Reads
   * queries from {@code qkv}, keys and values from the cache, in which {@link #ropeAndCacheKv} has
   * already put this batch's own.
   */
  void pagedAttention(Tensor out, Tensor qkv, KvLayer kv, AttentionShape shape, ForwardBatch batch);

  /**
   * Softmax over all experts, the K best (ties to the lower index), renormalised to sum 1.
   *
   * @param routerLogits {@code [rows, E]}
   */
  void routeTopK(ExpertRouting routing, Tensor routerLogits, int rows);

  /**
   * out[t] = sum over t's experts of weight * down(silu(gate x) * up x): {@code [rows, D]}. {@code
   * out} may be {@code x}.
   *
   * @param gateUp {@code [E, 2I, D]}
   * @param down {@code [E, D, I]}
   */
  void expertFeedForward(
      Tensor out, Tensor x, ExpertRouting routing, Tensor gateUp, Tensor down, int rows);

  /** out[r] = x[rowIds[r]]: {@code [rows, D]}. */
  void gatherRows(Tensor out, Tensor x, Tensor rowIds, int rows);

  /**
   * Draws or scores one token per row; see {@link SamplingInputs}. May destroy the logits.
   *
   * @param logits {@code [rows, V]}
   */
  void sample(SamplingOutputs out, Tensor logits, SamplingInputs in, int rows);
}
