package dev.gregale.backend.cuda;

import dev.gregale.backend.AttentionShape;
import dev.gregale.backend.AttentionWeights;
import dev.gregale.backend.BlockScratch;
import dev.gregale.backend.ExpertRouting;
import dev.gregale.backend.ExpertWeights;
import dev.gregale.backend.ForwardBatch;
import dev.gregale.backend.Kernels;
import dev.gregale.backend.KvLayer;
import dev.gregale.backend.RoutedExperts;
import dev.gregale.backend.SamplingInputs;
import dev.gregale.backend.SamplingOutputs;
import dev.gregale.backend.Tensor;
import dev.gregale.tensor.DType;

/**
 * Every op as launches on the context's stream. What is multiplied is bf16; the residual stream,
 * what is added to it, logits and routing weights are fp32.
 */
final class CudaKernels implements Kernels {
  private static final int ROW_THREADS = 256;
  private final KernelLauncher launcher;
  private final KernelChoice choice;
  private final KernelFunction gatherTokens;
  private final KernelFunction embed;
  private final KernelFunction gatherRows;
  private final KernelFunction rmsNorm;
  private final KernelFunction add;
  private final KernelFunction ropeAndCacheKv;
  private final KvCodes.Kernels kvCodes;
  private final KernelFunction routeTopK;
  private final KernelFunction dispatch;
  private final Sampler sampler;

  CudaKernels(
      KernelLauncher launcher, KernelModules modules, KernelChoice choice, Workspace workspace) {
    this.launcher = launcher;
    this.choice = choice;
    gatherTokens = modules.function("batch_arrays", "gather_tokens_i32");
    embed = modules.function("embed", "embed_bf16");
    gatherRows = modules.function("embed", "gather_rows_bf16");
    rmsNorm = modules.function("rms_norm", "rms_norm_bf16");
    add = modules.function("rms_norm", "add_f32");
    ropeAndCacheKv = modules.function("rope_and_cache_kv", "rope_and_cache_kv_bf16");
    kvCodes = new KvCodes.Kernels(launcher, modules);
    routeTopK = modules.function("route_top_k", "route_top_k_f32");
    dispatch = modules.function("route_top_k", "expert_ids_own_i32");
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
    launcher
        .begin()
        .add(CudaTensor.of(tokenIds, DType.I32, "the token ids"))
        .add(CudaTensor.of(sources, DType.I32, "the tokens' sources"))
        .add(CudaTensor.of(drawn, DType.I32, "the drawn tokens"))
        .add(vocabSize)
        .add(rows)
        .launch(gatherTokens, Math.ceilDiv(rows, ROW_THREADS), ROW_THREADS);
  }

  @Override
  public void embed(Tensor out, Tensor table, ForwardBatch batch) {
    launcher
        .begin()
        .add(f32(out, "embed's out"))
        .add(bf16(table, "the embedding"))
        .add(CudaTensor.of(batch.tokenIds()))
        .add(table.shape().intDim(1))
        .launch(embed, batch.numTokens(), ROW_THREADS);
  }

  @Override
  public void rmsNorm(Tensor out, Tensor x, Tensor weight, float eps, int rows) {
    launcher
        .begin()
        .add(bf16(out, "rmsNorm's out"))
        .add(f32(x, "rmsNorm's x"))
        .add(f32(weight, "the norm's gain"))
        .add(eps)
        .add(weight.shape().intDim(0))
        .launch(rmsNorm, rows, ROW_THREADS);
  }

  @Override
  public void add(Tensor residual, Tensor x, int rows) {
    int width = residual.shape().intDim(1);
    launcher
        .begin()
        .add(f32(residual, "the residual"))
        .add(CudaTensor.of(x))
        .add(width)
        .add(x.dtype() == DType.F32 ? 1 : 0)
        .launch(add, Math.ceilDiv(width, ROW_THREADS), rows, 1, ROW_THREADS, 0);
  }

  @Override
  public void matmul(Tensor out, Tensor x, Tensor weight, int rows) {
    CudaTensor to = CudaTensor.of(out);
    CudaTensor by = CudaTensor.weight(weight, "matmul's weight");
    choice.matmul(by, to, rows).launch(to, bf16(x, "matmul's x"), by, rows);
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
        .launch(ropeAndCacheKv, batch.numTokens(), ROW_THREADS);
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
    int warps = ROW_THREADS / 32; // one row each
    launcher
        .begin()
        .add(CudaTensor.of(routing.expertIds()))
        .add(f32(routing.expertWeights(), "the routing weights"))
        .add(f32(routerLogits, "the router's logits"))
        .add(rows)
        .add(routerLogits.shape().intDim(1))
        .add(routing.expertIds().shape().intDim(1))
        .launch(routeTopK, Math.ceilDiv(rows, warps), ROW_THREADS);
  }

  @Override
  public void dispatch(
      Tensor localIds, Tensor expertIds, int firstExpert, int numExperts, int rows) {
    int choices = rows * expertIds.shape().intDim(1);
    launcher
        .begin()
        .add(CudaTensor.of(localIds))
        .add(CudaTensor.of(expertIds))
        .add(firstExpert)
        .add(numExperts)
        .add(choices)
        .launch(dispatch, Math.ceilDiv(choices, ROW_THREADS), ROW_THREADS);
  }

  @Override
  public void expertFeedForward(
      Tensor out, Tensor x, ExpertRouting routing, Tensor gateUp, Tensor down, int rows) {
    ExpertKernel.Call call =
        new ExpertKernel.Call(
            CudaTensor.of(out),
            bf16(x, "the experts' x"),
            CudaTensor.of(routing.expertIds()),
            f32(routing.expertWeights(), "the routing weights"),
            weight(gateUp, "gate and up"),
            weight(down, "down"),
            rows);
    choice.expert(call).launch(call);
  }

  @Override
  public void gatherRows(Tensor out, Tensor x, Tensor rowIds, int rows) {
    launcher
        .begin()
        .add(bf16(out, "gatherRows' out"))
        .add(bf16(x, "gatherRows' x"))
        .add(CudaTensor.of(rowIds))
        .add(x.shape().intDim(1))
        .launch(gatherRows, rows, ROW_THREADS);
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
    DecodeKernels.ExpertBlock block =
        new DecodeKernels.ExpertBlock(
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
    DecodeKernels decode = choice.decode(kernels -> kernels.limits().allow(block));
    FusedRoute route = choice.route(block);
    if (decode != null) {
      decode.launch(block);
    } else if (route != null) {
      route.launch(block);
      RoutedExperts.launch(this, out, residual, weights, batch.numTokens(), scratch);
    } else {
      Kernels.super.expertBlock(out, residual, weights, eps, batch, scratch);
    }
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
