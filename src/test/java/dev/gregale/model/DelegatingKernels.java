package dev.gregale.model;

import dev.gregale.backend.AttentionShape;
import dev.gregale.backend.ExpertRouting;
import dev.gregale.backend.ForwardBatch;
import dev.gregale.backend.Kernels;
import dev.gregale.backend.KvLayer;
import dev.gregale.backend.SamplingInputs;
import dev.gregale.backend.SamplingOutputs;
import dev.gregale.backend.Tensor;

/**
 * Another backend's ops, for tests that watch or change one of them. Blocks run as their
 * composition, so that the ops within them pass through here too.
 */
class DelegatingKernels implements Kernels {
  private final Kernels ops;

  DelegatingKernels(Kernels ops) {
    this.ops = ops;
  }

  @Override
  public void gatherTokens(Tensor tokenIds, Tensor sources, Tensor drawn, int vocabSize, int rows) {
    ops.gatherTokens(tokenIds, sources, drawn, vocabSize, rows);
  }

  @Override
  public void embed(Tensor out, Tensor table, ForwardBatch batch) {
    ops.embed(out, table, batch);
  }

  @Override
  public void rmsNorm(Tensor out, Tensor x, Tensor weight, float eps, int rows) {
    ops.rmsNorm(out, x, weight, eps, rows);
  }

  @Override
  public void add(Tensor residual, Tensor x, int rows) {
    ops.add(residual, x, rows);
  }

  @Override
  public void matmul(Tensor out, Tensor x, Tensor weight, int rows) {
    ops.matmul(out, x, weight, rows);
  }

  @Override
  public void ropeAndCacheKv(
      Tensor qkv, KvLayer kv, Tensor ropeTable, AttentionShape shape, ForwardBatch batch) {
    ops.ropeAndCacheKv(qkv, kv, ropeTable, shape, batch);
  }

  @Override
  public void pagedAttention(
      Tensor out, Tensor qkv, KvLayer kv, AttentionShape shape, ForwardBatch batch) {
    ops.pagedAttention(out, qkv, kv, shape, batch);
  }

  @Override
  public void routeTopK(ExpertRouting routing, Tensor routerLogits, int rows) {
    ops.routeTopK(routing, routerLogits, rows);
  }

  @Override
  public void dispatch(
      Tensor localIds, Tensor expertIds, int firstExpert, int numExperts, int rows) {
    ops.dispatch(localIds, expertIds, firstExpert, numExperts, rows);
  }

  @Override
  public void expertFeedForward(
      Tensor out, Tensor x, ExpertRouting routing, Tensor gateUp, Tensor down, int rows) {
    ops.expertFeedForward(out, x, routing, gateUp, down, rows);
  }

  @Override
  public void gatherRows(Tensor out, Tensor x, Tensor rowIds, int rows) {
    ops.gatherRows(out, x, rowIds, rows);
  }

  @Override
  public void sample(SamplingOutputs out, Tensor logits, SamplingInputs in, int rows) {
    ops.sample(out, logits, in, rows);
  }
}
