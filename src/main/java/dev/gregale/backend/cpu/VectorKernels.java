package dev.gregale.backend.cpu;

import static dev.gregale.backend.cpu.CpuTensor.floats;
import static dev.gregale.backend.cpu.CpuTensor.ints;

import dev.gregale.backend.AttentionShape;
import dev.gregale.backend.ExpertRouting;
import dev.gregale.backend.ForwardBatch;
import dev.gregale.backend.Kernels;
import dev.gregale.backend.KvLayer;
import dev.gregale.backend.SamplingInputs;
import dev.gregale.backend.SamplingOutputs;
import dev.gregale.backend.SaturatedInputs;
import dev.gregale.backend.Tensor;

/**
 * The ops on the Vector API and a {@link WorkerPool}: fp32 over weights as stored.
 *
 * <p>Every output is computed in an order of its own row's, so that a row has the same bits
 * whatever else is in its batch, for any number of threads and any vector width. Scratch grows to
 * the largest batch and is then reused.
 */
final class VectorKernels implements Kernels {
  private final NormKernel norm;
  private final AddKernel add;
  private final GroupedMatmul matmul;
  private final InputRounder rounder;
  private final RopeKernel rope;
  private final AttentionKernel attention;
  private final RouterKernel router = new RouterKernel();
  private final ExpertKernel experts;
  private final TokenSampler sampler = new TokenSampler();

  VectorKernels(WorkerPool pool) {
    norm = new NormKernel(pool);
    add = new AddKernel(pool);
    matmul = new GroupedMatmul(pool);
    rounder = new InputRounder(pool);
    rope = new RopeKernel(pool);
    attention = new AttentionKernel(pool);
    experts = new ExpertKernel(pool, matmul, rounder);
  }

  @Override
  public void gatherTokens(Tensor tokenIds, Tensor sources, Tensor drawn, int vocabSize, int rows) {
    IdOps.gatherTokens(ints(tokenIds), ints(sources), ints(drawn), vocabSize, rows);
  }

  @Override
  public void dispatch(
      Tensor localIds, Tensor expertIds, int firstExpert, int numExperts, int rows) {
    int choices = rows * expertIds.shape().intDim(1);
    IdOps.dispatch(ints(localIds), ints(expertIds), firstExpert, numExperts, choices);
  }

  @Override
  public void embed(Tensor out, Tensor table, ForwardBatch batch) {
    StoredRows rows = (StoredRows) table;
    int width = rows.shape().intDim(1);
    int[] tokenIds = ints(batch.tokenIds());
    for (int t = 0; t < batch.numTokens(); t++) {
      rows.read(tokenIds[t], floats(out), t * width);
    }
  }

  @Override
  public void rmsNorm(Tensor out, Tensor x, Tensor weight, float eps, int rows) {
    norm.norm(floats(out), floats(x), floats(weight), eps, rows);
  }

  @Override
  public void add(Tensor residual, Tensor x, int rows) {
    add.add(floats(residual), floats(x), rows * residual.shape().intDim(1));
  }

  @Override
  public void matmul(Tensor out, Tensor x, Tensor weight, int rows) {
    PackedMatrix matrix = (PackedMatrix) weight;
    float[] inputs = rounder.inputs(floats(x), matrix, rows);
    matmul.multiply(floats(out), inputs, matrix, rows);
  }

  /** See {@link dev.gregale.backend.Backend#saturatedInputs}. */
  SaturatedInputs saturatedInputs() {
    return rounder.saturated();
  }

  @Override
  public void ropeAndCacheKv(
      Tensor qkv, KvLayer kv, Tensor ropeTable, AttentionShape shape, ForwardBatch batch) {
    rope.rotateAndCache(
        floats(qkv),
        (VectorKvLayer) kv,
        floats(ropeTable),
        shape,
        ints(batch.positions()),
        ints(batch.slotMapping()),
        batch.numTokens());
  }

  @Override
  public void pagedAttention(
      Tensor out, Tensor qkv, KvLayer kv, AttentionShape shape, ForwardBatch batch) {
    attention.attend(floats(out), floats(qkv), (VectorKvLayer) kv, shape, batch);
  }

  @Override
  public void routeTopK(ExpertRouting routing, Tensor routerLogits, int rows) {
    router.route(
        ints(routing.expertIds()),
        floats(routing.expertWeights()),
        routing.expertIds().shape().intDim(1),
        floats(routerLogits),
        routerLogits.shape().intDim(1),
        rows);
  }

  @Override
  public void expertFeedForward(
      Tensor out, Tensor x, ExpertRouting routing, Tensor gateUp, Tensor down, int rows) {
    experts.feedForward(
        floats(out),
        floats(x),
        ints(routing.expertIds()),
        floats(routing.expertWeights()),
        routing.expertIds().shape().intDim(1),
        (PackedMatrix) gateUp,
        (PackedMatrix) down,
        rows);
  }

  @Override
  public void gatherRows(Tensor out, Tensor x, Tensor rowIds, int rows) {
    int width = x.shape().intDim(1);
    for (int row = 0; row < rows; row++) {
      System.arraycopy(floats(x), ints(rowIds)[row] * width, floats(out), row * width, width);
    }
  }

  @Override
  public void sample(SamplingOutputs out, Tensor logits, SamplingInputs in, int rows) {
    int vocabSize = logits.shape().intDim(1);
    for (int row = 0; row < rows; row++) {
      sampler.sample(out, floats(logits), vocabSize, in, row);
    }
  }
}
