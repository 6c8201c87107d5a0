package dev.gregale.backend.cuda;

import dev.gregale.backend.ExpertRouting;
import dev.gregale.backend.ForwardBatch;
import dev.gregale.backend.Kernels;
import dev.gregale.backend.Tensor;
import dev.gregale.tensor.DType;

/** The ops of {@link Kernels} that take a row as it comes: lookups, norm, addition, routing. */
final class RowKernels {
  private static final int ROW_THREADS = 256;
  private final KernelLauncher launcher;
  private final KernelFunction gatherTokens;
  private final KernelFunction embed;
  private final KernelFunction rmsNorm;
  private final KernelFunction add;
  private final KernelFunction routeTopK;
  private final KernelFunction dispatch;
  private final KernelFunction gatherRows;

  RowKernels(KernelLauncher launcher, KernelModules modules) {
    this.launcher = launcher;
    gatherTokens = modules.function("batch_arrays", "gather_tokens_i32");
    embed = modules.function("embed", "embed_bf16");
    rmsNorm = modules.function("rms_norm", "rms_norm_bf16");
    add = modules.function("rms_norm", "add_f32");
    routeTopK = modules.function("route_top_k", "route_top_k_f32");
    dispatch = modules.function("route_top_k", "expert_ids_own_i32");
    gatherRows = modules.function("embed", "gather_rows_bf16");
  }

  private static CudaTensor bf16(Tensor tensor, String what) {
    return CudaTensor.of(tensor, DType.BF16, what);
  }

  private static CudaTensor f32(Tensor tensor, String what) {
    return CudaTensor.of(tensor, DType.F32, what);
  }

  void gatherTokens(Tensor tokenIds, Tensor sources, Tensor drawn, int vocabSize, int rows) {
    launcher
        .begin()
        .add(CudaTensor.of(tokenIds, DType.I32, "the token ids"))
        .add(CudaTensor.of(sources, DType.I32, "the tokens' sources"))
        .add(CudaTensor.of(drawn, DType.I32, "the drawn tokens"))
        .add(vocabSize)
        .add(rows)
        .launch(gatherTokens, Math.ceilDiv(rows, ROW_THREADS), ROW_THREADS);
  }

  void embed(Tensor out, Tensor table, ForwardBatch batch) {
    launcher
        .begin()
        .add(f32(out, "embed's out"))
        .add(bf16(table, "the embedding"))
        .add(CudaTensor.of(batch.tokenIds()))
        .add(table.shape().intDim(1))
        .launch(embed, batch.numTokens(), ROW_THREADS);
  }

  void rmsNorm(Tensor out, Tensor x, Tensor weight, float eps, int rows) {
    launcher
        .begin()
        .add(bf16(out, "rmsNorm's out"))
        .add(f32(x, "rmsNorm's x"))
        .add(f32(weight, "the norm's gain"))
        .add(eps)
        .add(weight.shape().intDim(0))
        .launch(rmsNorm, rows, ROW_THREADS);
  }

  void add(Tensor residual, Tensor x, int rows) {
    int width = residual.shape().intDim(1);
    launcher
        .begin()
        .add(f32(residual, "the residual"))
        .add(CudaTensor.of(x))
        .add(width)
        .add(x.dtype() == DType.F32 ? 1 : 0)
        .launch(add, Math.ceilDiv(width, ROW_THREADS), rows, 1, ROW_THREADS, 0);
  }

  void routeTopK(ExpertRouting routing, Tensor routerLogits, int rows) {
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

  void dispatch(Tensor localIds, Tensor expertIds, int firstExpert, int numExperts, int rows) {
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

  void gatherRows(Tensor out, Tensor x, Tensor rowIds, int rows) {
    launcher
        .begin()
        .add(bf16(out, "gatherRows' out"))
        .add(bf16(x, "gatherRows' x"))
        .add(CudaTensor.of(rowIds))
        .add(x.shape().intDim(1))
        .launch(gatherRows, rows, ROW_THREADS);
  }
}
