package dev.gregale.backend.cuda;

import dev.gregale.backend.AttentionShape;
import dev.gregale.backend.AttentionWeights;
import dev.gregale.backend.BlockScratch;
import dev.gregale.backend.ExpertRouting;
import dev.gregale.backend.ExpertWeights;
import dev.gregale.backend.ForwardBatch;
import dev.gregale.backend.Kernels;
import dev.gregale.backend.KvLayer;
import dev.gregale.backend.SamplingInputs;
import dev.gregale.backend.SamplingOutputs;
import dev.gregale.backend.Tensor;
import dev.gregale.tensor.DType;

/**
 * Every op as launches on the context's stream. What is multiplied is bf16; the residual stream,
 * what is added to it, logits and routing weights are fp32.
 */
final class CudaKernels implements Kernels {
  private static final int ROPE_THREADS = 128; // of heads of at most 256
  private final KernelLauncher launcher;
  private final KernelChoice choice;
  private final RowKernels rowKernels;
  private final KernelFunction ropeAndCacheKv;
  private final KvCodes.Kernels kvCodes;
  private final Sampler sampler;

  CudaKernels(
      KernelLauncher launcher, KernelModules modules, KernelChoice choice, Workspace workspace) {
    this.launcher = launcher;
    this.choice = choice;
    rowKernels = new RowKernels(launcher, modules);
    ropeAndCacheKv = modules.function("rope_and_cache_kv", "rope_and_cache_kv_bf16");
    kvCodes = new KvCodes.Kernels(launcher, modules);
    sampler = new Sampler(launcher, modules, workspace);
  }

  private static CudaTensor bf16(Tensor tensor, String what) {
    return CudaTensor.of(tensor, DType.BF16, what);
  }

  private static CudaTensor weight(Tensor tensor, String what) {
    return CudaTensor.weight(tensor, what);
  }

  private static CudaTensor f32(Tensor tensor, String what) {
    return CudaTensor.of(tensor, DType.F32, what);
  }

  @Override
  public void gatherTokens(Tensor tokenIds, Tensor sources, Tensor drawn, int vocabSize, int rows) {
    rowKernels.gatherTokens(tokenIds, sources, drawn, vocabSize, rows);
  }

  @Override
  public void embed(Tensor out, Tensor table, ForwardBatch batch) {
    rowKernels.embed(out, table, batch);
  }

  @Override
  public void rmsNorm(Tensor out, Tensor x, Tensor weight, float eps, int rows) {
    rowKernels.rmsNorm(out, x, weight, eps, rows);
  }

  @Override
  public void add(Tensor residual, Tensor x, int rows) {
    rowKernels.add(residual, x, rows);
  }

  @Override
  public void matmul(Tensor out, Tensor x, Tensor weight, int rows) {
    CudaTensor to = CudaTensor.of(out);
    CudaTensor by = CudaTensor.weight(weight, "matmul's weight");
    choice.matmul(by, to, rows).launch(to, bf16(x, "matmul's x"), by, rows);
  }

  @Override
  public void addMatmul(Tensor residual, Tensor x, Tensor weight, Tensor update, int rows) {
    CudaTensor to = f32(residual, "the residual");
    CudaTensor by = weight(weight, "addMatmul's weight");
    if (!choice.matmul(by, to, rows).launchAdd(to, bf16(x, "addMatmul's x"), by, rows)) {
      Kernels.super.addMatmul(residual, x, weight, update, rows);
    }
  }

  @Override
  public void ropeAndCacheKv(
      Tensor qkv, KvLayer kv, Tensor ropeTable, AttentionShape shape, ForwardBatch batch) {
    CudaKvLayer cache = (CudaKvLayer) kv;
    launcher
        .begin()
        .add(bf16(qkv, "qkv"))
        .add(cache.keys().address())
        .add(cache.values().address())
        .add(f32(ropeTable, "the rope table"))
        .add(CudaTensor.of(batch.positions()))
        .add(CudaTensor.of(batch.slotMapping()))
        .add(shape.numHeads())
        .add(shape.numKvHeads())
        .add(shape.headDim())
        .add(cache.blockSize())
        .launch(ropeAndCacheKv, batch.numTokens(), ROPE_THREADS);
    kvCodes.store(cache, shape, batch);
  }

  @Override
  public void pagedAttention(
      Tensor out, Tensor qkv, KvLayer kv, AttentionShape shape, ForwardBatch batch) {
    CudaKvLayer cache = (CudaKvLayer) kv;
    kvCodes.expand(cache, shape, batch);
    choice
        .attention(kernel -> kernel.accepts(cache, shape, batch), shape)
        .launch(bf16(out, "attention's out"), bf16(qkv, "qkv"), cache, shape, batch);
  }

  @Override
  public void routeTopK(ExpertRouting routing, Tensor routerLogits, int rows) {
    rowKernels.routeTopK(routing, routerLogits, rows);
  }

  @Override
  public void dispatch(
      Tensor localIds, Tensor expertIds, int firstExpert, int numExperts, int rows) {
    rowKernels.dispatch(localIds, expertIds, firstExpert, numExperts, rows);
  }

  @Override
  public void expertFeedForward(
      Tensor out, Tensor x, ExpertRouting routing, Tensor gateUp, Tensor down, int rows) {
    ExpertKernel.Call call = call(CudaTensor.of(out), x, routing, gateUp, down, rows);
    choice.expert(call).launch(call);
  }

  @Override
  public void addExpertFeedForward(
      Tensor residual,
      Tensor x,
      ExpertRouting routing,
      Tensor gateUp,
      Tensor down,
      Tensor update,
      int rows) {
    CudaTensor out = f32(residual, "the residual");
    ExpertKernel.Call call = call(out, x, routing, gateUp, down, rows);
    if (!choice.expert(call).launchAdd(call)) {
      Kernels.super.addExpertFeedForward(residual, x, routing, gateUp, down, update, rows);
    }
  }

  private static ExpertKernel.Call call(
      CudaTensor out, Tensor x, ExpertRouting routing, Tensor gateUp, Tensor down, int rows) {
    return new ExpertKernel.Call(
        out,
        bf16(x, "the experts' x"),
        CudaTensor.of(routing.expertIds()),
        f32(routing.expertWeights(), "the routing weights"),
        weight(gateUp, "gate and up"),
        weight(down, "down"),
        rows);
  }

  @Override
  public void gatherRows(Tensor out, Tensor x, Tensor rowIds, int rows) {
    rowKernels.gatherRows(out, x, rowIds, rows);
  }

  @Override
  public void attentionBlock(
      Tensor out,
      Tensor residual,
      AttentionWeights weights,
      float eps,
      KvLayer kv,
      Tensor ropeTable,
      AttentionShape shape,
      ForwardBatch batch,
      BlockScratch scratch) {
    DecodeKernels.AttentionBlock block =
        new DecodeKernels.AttentionBlock(
            f32(out, "the block's out"),
            f32(residual, "the residual"),
            f32(weights.norm(), "the norm's gain"),
            weight(weights.qkv(), "QKV"),
            weight(weights.output(), "the output projection"),
            eps,
            (CudaKvLayer) kv,
            f32(ropeTable, "the rope table"),
            shape,
            batch,
            scratch);
    DecodeKernels decode = choice.decode(kernels -> kernels.limits().allow(block));
    if (decode == null) {
      Kernels.super.attentionBlock(
          out, residual, weights, eps, kv, ropeTable, shape, batch, scratch);
    } else {
      decode.launch(block);
    }
  }

  @Override
  public void expertBlock(
      Tensor out,
      Tensor residual,
      ExpertWeights weights,
      float eps,
      ForwardBatch batch,
      BlockScratch scratch) {
    DecodeKernels.ExpertBlock block = block(out, residual, weights, eps, batch, scratch);
    DecodeKernels decode = choice.decode(kernels -> kernels.limits().allow(block));
    if (decode == null) {
      Kernels.super.expertBlock(out, residual, weights, eps, batch, scratch);
    } else {
      decode.launch(block);
    }
  }

  @Override
  public void route(
      Tensor residual, ExpertWeights weights, float eps, ForwardBatch batch, BlockScratch scratch) {
    DecodeKernels.ExpertBlock block = block(residual, residual, weights, eps, batch, scratch);
    FusedRoute route = choice.route(block);
    if (route == null) {
      Kernels.super.route(residual, weights, eps, batch, scratch);
    } else {
      route.launch(block);
    }
  }

  private static DecodeKernels.ExpertBlock block(
      Tensor out,
      Tensor residual,
      ExpertWeights weights,
      float eps,
      ForwardBatch batch,
      BlockScratch scratch) {
    return new DecodeKernels.ExpertBlock(
        f32(out, "the block's out"),
        f32(residual, "the residual"),
        f32(weights.norm(), "the norm's gain"),
        bf16(weights.router(), "the router"),
        weight(weights.gateUp(), "gate and up"),
        weight(weights.down(), "down"),
        weights.firstExpert(),
        eps,
        batch,
        scratch);
  }

  @Override
  public void computeLogits(
      Tensor logits,
      Tensor residual,
      Tensor norm,
      float eps,
      Tensor lmHead,
      ForwardBatch batch,
      BlockScratch scratch) {
    DecodeKernels.Logits call =
        new DecodeKernels.Logits(
            f32(logits, "the logits"),
            f32(residual, "the residual"),
            f32(norm, "the norm's gain"),
            bf16(lmHead, "lm_head"),
            eps,
            batch);
    DecodeKernels decode = choice.decode(kernels -> kernels.limits().allow(call));
    if (decode == null) {
      Kernels.super.computeLogits(logits, residual, norm, eps, lmHead, batch, scratch);
    } else {
      decode.launch(call);
    }
  }

  @Override
  public void sample(SamplingOutputs out, Tensor logits, SamplingInputs in, int rows) {
    sampler.launch(out, f32(logits, "the logits"), in, rows);
  }
}
