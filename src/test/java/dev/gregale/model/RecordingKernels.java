package dev.gregale.model;

import dev.gregale.backend.AttentionShape;
import dev.gregale.backend.Backend;
import dev.gregale.backend.ExpertRouting;
import dev.gregale.backend.ForwardBatch;
import dev.gregale.backend.Kernels;
import dev.gregale.backend.KvLayer;
import dev.gregale.backend.SamplingInputs;
import dev.gregale.backend.SamplingOutputs;
import dev.gregale.backend.Tensor;
import java.util.ArrayList;
import java.util.List;

/**
 * Runs another backend's ops and keeps a copy of what each wrote, in order. Blocks run as their
 * composition, so that the ops within them are seen.
 */
final class RecordingKernels implements Kernels {

  /**
   * One op's result.
   *
   * @param values fp32, or null for expert ids
   * @param ids expert ids, or null
   */
  record Recorded(String op, float[] values, int[] ids) {}

  final List<Recorded> log = new ArrayList<>();
  private final Backend backend;
  private final Kernels ops;

  RecordingKernels(Backend backend) {
    this.backend = backend;
    this.ops = backend.kernels();
  }

  private void keep(String op, Tensor tensor, int rows) {
    int width = Math.toIntExact(tensor.shape().numElements() / tensor.shape().dim(0));
    float[] values = new float[rows * width];
    backend.read(tensor, values, values.length);
    log.add(new Recorded(op, values, new int[0]));
  }

  @Override
  public void gatherTokens(Tensor tokenIds, Tensor sources, Tensor drawn, int vocabSize, int rows) {
    ops.gatherTokens(tokenIds, sources, drawn, vocabSize, rows);
  }

  @Override
  public void embed(Tensor out, Tensor table, ForwardBatch batch) {
    ops.embed(out, table, batch);
    keep("embed", out, batch.numTokens());
  }

  @Override
  public void rmsNorm(Tensor out, Tensor x, Tensor weight, float eps, int rows) {
    ops.rmsNorm(out, x, weight, eps, rows);
    keep("rmsNorm", out, rows);
  }

  @Override
  public void add(Tensor residual, Tensor x, int rows) {
    ops.add(residual, x, rows);
    keep("add", residual, rows);
  }

  @Override
  public void matmul(Tensor out, Tensor x, Tensor weight, int rows) {
    ops.matmul(out, x, weight, rows);
    keep("matmul", out, rows);
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
    int[] ids = new int[rows * routing.expertIds().shape().intDim(1)];
    float[] weights = new float[ids.length];
    backend.read(routing.expertIds(), ids, ids.length);
    backend.read(routing.expertWeights(), weights, weights.length);
    log.add(new Recorded("routeTopK", weights, ids));
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
    keep("expertFeedForward", out, rows);
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
