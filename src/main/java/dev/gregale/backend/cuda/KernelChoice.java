package dev.gregale.backend.cuda;

import dev.gregale.backend.WeightRole;
import dev.gregale.backend.WorkspaceLimits;
import dev.gregale.tensor.Shape;
import java.util.List;
import java.util.function.Predicate;

/**
 * Which kernel serves an op at a shape, and which layout a weight is uploaded in: the one place to
 * change when a faster kernel arrives. Lists run from the most special kernel to the general one,
 * and the first that accepts a call takes it.
 */
record KernelChoice(
    List<MatmulKernel> matmuls, List<AttentionKernel> attentions, List<ExpertKernel> experts) {

  /**
   * @param deterministic only kernels that give a row the same bits in every batch
   */
  static KernelChoice of(
      KernelLauncher launcher, KernelModules modules, Workspace workspace, boolean deterministic) {
    return new KernelChoice(
        List.of(new GeneralMatmul(launcher, modules)),
        List.of(new GeneralAttention(launcher, modules, workspace, deterministic)),
        List.of(new GeneralExperts(launcher, modules, workspace)));
  }

  /** The layout that all kernels which may be chosen for that weight read. */
  WeightLayout layout(WeightRole role, Shape shape) {
    return WeightLayout.ROW_MAJOR;
  }

  MatmulKernel matmul(CudaTensor weight, CudaTensor out, int rows) {
    return first(matmuls, kernel -> kernel.accepts(weight, out, rows), "matmul by", weight.shape());
  }

  AttentionKernel attention(Predicate<AttentionKernel> accepts, Object shape) {
    return first(attentions, accepts, "attention of", shape);
  }

  ExpertKernel expert(ExpertKernel.Call call) {
    return first(experts, kernel -> kernel.accepts(call), "experts of", call.gateUp().shape());
  }

  private static <T> T first(List<T> kernels, Predicate<T> accepts, String what, Object shape) {
    for (T kernel : kernels) {
      if (accepts.test(kernel)) {
        return kernel;
      }
    }
    throw new IllegalArgumentException("no CUDA kernel computes %s %s".formatted(what, shape));
  }

  void reserve(WorkspaceLimits limits) {
    attentions.forEach(kernel -> kernel.reserve(limits));
    experts.forEach(kernel -> kernel.reserve(limits));
  }
}
