package dev.gregale.backend;

/**
 * The steps of Mixtral on one device, each a step that the architecture names. How many kernels an
 * op takes, and in what layout its data lies, is the backend's business. The blocks are composed of
 * the other ops unless a backend has something better.
 */
public interface Kernels extends ModelOps {

  /**
   * out = x / sqrt(mean(x^2) + eps) * weight, per row: {@code [rows, D]}. The gain is applied after
   * rounding nothing: all fp32 (Zhang and Sennrich 2019; HF's MixtralRMSNorm).
   */
  void rmsNorm(Tensor out, Tensor x, Tensor weight, float eps, int rows);

  /** residual += x: fp32 {@code [rows, D]}. */
  void add(Tensor residual, Tensor x, int rows);

  /** out = x * weight^T: {@code [rows, N]} from {@code [rows, M]} and {@code [N, M]}. */
  void matmul(Tensor out, Tensor x, Tensor weight, int rows);

  /**
   * residual += x * weight^T: fp32 {@code [rows, N]}, with the bits of {@link #matmul} and {@link
   * #add}.
   *
   * @param update fp32 {@code [rows, N]}: scratch for the product
   */
  default void addMatmul(Tensor residual, Tensor x, Tensor weight, Tensor update, int rows) {
    matmul(update, x, weight, rows);
    add(residual, update, rows);
  }

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
   * Which of each token's experts are among this device's own: {@code expertIds - firstExpert} for
   * those, -1 for the others.
   *
   * @param localIds int32 {@code [rows, K]}
   * @param expertIds int32 {@code [rows, K]}
   */
  void dispatch(Tensor localIds, Tensor expertIds, int firstExpert, int numExperts, int rows);

  /**
   * out[t] = sum over t's experts of weight * down(silu(gate x) * up x): {@code [rows, D]}. {@code
   * out} may be {@code x}. An expert of id -1 is another device's, and counts for nothing.
   *
   * @param gateUp {@code [E, 2I, D]}
   * @param down {@code [E, D, I]}
   */
  void expertFeedForward(
      Tensor out, Tensor x, ExpertRouting routing, Tensor gateUp, Tensor down, int rows);

  /**
   * residual += what {@link #expertFeedForward} gives: fp32 {@code [rows, D]}, with the bits of it
   * and {@link #add}.
   *
   * @param update fp32 {@code [rows, D]}: scratch for the sums over experts
   */
  default void addExpertFeedForward(
      Tensor residual,
      Tensor x,
      ExpertRouting routing,
      Tensor gateUp,
      Tensor down,
      Tensor update,
      int rows) {
    expertFeedForward(update, x, routing, gateUp, down, rows);
    add(residual, update, rows);
  }

  /** out[r] = x[rowIds[r]]: {@code [rows, D]}. */
  void gatherRows(Tensor out, Tensor x, Tensor rowIds, int rows);

  @Override
  default void attentionBlock(
      Tensor out,
      Tensor residual,
      AttentionWeights weights,
      float eps,
      KvLayer kv,
      Tensor ropeTable,
      AttentionShape shape,
      ForwardBatch batch,
      BlockScratch scratch) {
    int tokens = batch.numTokens();
    rmsNorm(scratch.hidden(), residual, weights.norm(), eps, tokens); // [T, D]
    matmul(scratch.qkv(), scratch.hidden(), weights.qkv(), tokens); // [T, (H + 2G) d]
    ropeAndCacheKv(scratch.qkv(), kv, ropeTable, shape, batch);
    pagedAttention(scratch.context(), scratch.qkv(), kv, shape, batch); // [T, H d]
    if (out == residual) {
      addMatmul(residual, scratch.context(), weights.output(), scratch.update(), tokens); // [T, D]
    } else {
      matmul(out, scratch.context(), weights.output(), tokens); // [T, D]
    }
  }

  @Override
  default void expertBlock(
      Tensor out,
      Tensor residual,
      ExpertWeights weights,
      float eps,
      ForwardBatch batch,
      BlockScratch scratch) {
    int tokens = batch.numTokens();
    route(residual, weights, eps, batch, scratch);
    ExpertRouting routing = scratch.routing();
    if (!weights.hasAllExperts()) {
      Tensor own = scratch.localIds();
      int first = weights.firstExpert();
      dispatch(own, routing.expertIds(), first, weights.numExperts(), tokens);
      routing = new ExpertRouting(own, routing.expertWeights());
    }
    Tensor x = scratch.hidden();
    Tensor gateUp = weights.gateUp();
    if (out == residual) {
      addExpertFeedForward(
          residual, x, routing, gateUp, weights.down(), scratch.update(), tokens); // [T, D]
    } else {
      expertFeedForward(out, x, routing, gateUp, weights.down(), tokens); // [T, D]
    }
  }

  /**
   * What comes before the experts of a block: leaves each row normalised in {@code
   * scratch.hidden()}, and its experts, of all E, in {@code scratch.routing()}.
   *
   * @param residual fp32 {@code [T, D]}
   */
  default void route(
      Tensor residual, ExpertWeights weights, float eps, ForwardBatch batch, BlockScratch scratch) {
    int tokens = batch.numTokens();
    rmsNorm(scratch.hidden(), residual, weights.norm(), eps, tokens); // [T, D]
    matmul(scratch.routerLogits(), scratch.hidden(), weights.router(), tokens); // [T, E]
    routeTopK(scratch.routing(), scratch.routerLogits(), tokens); // [T, K]
  }

  @Override
  default void computeLogits(
      Tensor logits,
      Tensor residual,
      Tensor norm,
      float eps,
      Tensor lmHead,
      ForwardBatch batch,
      BlockScratch scratch) {
    int rows = batch.numLogitRows();
    rmsNorm(scratch.hidden(), residual, norm, eps, batch.numTokens()); // [T, D]
    gatherRows(scratch.lastHidden(), scratch.hidden(), batch.logitRows(), rows); // [R, D]
    matmul(logits, scratch.lastHidden(), lmHead, rows); // [R, V]
  }
}
