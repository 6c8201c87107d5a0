package dev.gregale.backend.cuda;

import dev.gregale.backend.WeightRole;
import dev.gregale.backend.WorkspaceLimits;
import dev.gregale.tensor.Shape;
import java.util.ArrayList;
import java.util.List;
import java.util.function.Predicate;
import org.jspecify.annotations.Nullable;

/**
 * Which kernel serves an op at a shape, and which layout a weight is uploaded in: the one place to
 * change when a faster kernel arrives. Lists run from the most special kernel to the general one,
 * and the first that accepts a call takes it.
 */
record KernelChoice(
    boolean hasTiles,
    List<MatmulKernel> matmuls,
    List<AttentionKernel> attentions,
    List<ExpertKernel> experts,
    List<DecodeKernels> decodes,
    @Nullable FusedRoute route) {
  private static final int OUTPUT_GRAIN = 16; // rows of a weight that the decode kernels take

  /** How freely to choose. */
  enum Mode {
    /** Whatever is fastest for a shape. */
    FASTEST,
    /** Only kernels that give a row the same bits in every batch. */
    DETERMINISTIC,
    /** Only kernels that serve any shape on any GPU: to compare the others with. */
    GENERAL
  }

  static KernelChoice of(
      KernelLauncher launcher,
      KernelModules modules,
      Workspace workspace,
      SaturationCounts saturation,
      CudaDevice device,
      Mode mode) {
    List<MatmulKernel> matmuls = new ArrayList<>();
    List<AttentionKernel> attentions = new ArrayList<>();
    List<ExpertKernel> experts = new ArrayList<>();
    List<DecodeKernels> decodes = new ArrayList<>();
    boolean hasTiles = device.isHopper() && mode != Mode.GENERAL;
    int processors = device.numMultiprocessors();
    boolean isDeterministic = mode == Mode.DETERMINISTIC;
    InputRounder rounder = new InputRounder(launcher, modules, workspace, saturation);
    GeneralAttention general = new GeneralAttention(launcher, modules, workspace, isDeterministic);
    FusedRoute route = null;
    if (hasTiles) {
      InputQuantizer quantizer = new InputQuantizer(launcher, modules, saturation);
      WgmmaTools tools =
          new WgmmaTools(
              launcher, modules, workspace, quantizer, rounder, processors, mode == Mode.FASTEST);
      matmuls.add(new WgmmaMatmul(tools));
      experts.add(new WgmmaExperts(tools));
      WgmmaAttention wgmma =
          new WgmmaAttention(launcher, modules, workspace, processors, isDeterministic);
      attentions.add(wgmma);
      route = new FusedRoute(launcher, modules, processors);
      DecodeGemm gemm = new DecodeGemm(launcher, modules, processors, isDeterministic);
      if (isDeterministic) {
        BlockAttention invariant = new InvariantAttention(launcher, modules, wgmma, general);
        decodes.add(
            new DecodeMany(
                launcher, modules, workspace, invariant, gemm, route, DecodeMany.UP_TO_MANY));
      } else {
        DecodeAttention decode = new DecodeAttention(launcher, modules, workspace);
        decodes.add(new DecodeFew(launcher, modules, workspace, decode, processors));
        decodes.add(
            new DecodeMany(
                launcher, modules, workspace, decode, gemm, route, DecodeMany.ABOVE_FEW));
      }
    }
    matmuls.add(new GeneralMatmul(launcher, modules, rounder));
    attentions.add(general);
    experts.add(new GeneralExperts(launcher, modules, workspace, rounder));
    return new KernelChoice(hasTiles, matmuls, attentions, experts, decodes, route);
  }

  /** The layout that all kernels which may be chosen for that weight read. */
  WeightLayout layout(WeightRole role, Shape shape) {
    return switch (role) {
      case NORM -> WeightLayout.GAIN;
      case QKV, ATTENTION_OUTPUT, LINEAR ->
          tiledIf(isWhole(shape.intDim(1)) && shape.intDim(0) % OUTPUT_GRAIN == 0);
      case EXPERTS_GATE_UP -> tiledIf(isWhole(shape.intDim(2)));
      case EXPERTS_DOWN -> tiledIf(isWhole(shape.intDim(1)));
      case EMBEDDING, ROUTER, ROPE_TABLE -> WeightLayout.ROW_MAJOR;
    };
  }

  private static boolean isWhole(int width) {
    return width % TiledLayout.TILE_K == 0;
  }

  private WeightLayout tiledIf(boolean fits) {
    return hasTiles && fits ? WeightLayout.TILED : WeightLayout.ROW_MAJOR;
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

  /** What computes a whole block, or null: then the smaller ops do. */
  @Nullable DecodeKernels decode(Predicate<DecodeKernels> accepts) {
    for (DecodeKernels kernels : decodes) {
      if (accepts.test(kernels)) {
        return kernels;
      }
    }
    return null;
  }

  /** What routes a batch that {@link #decode} does not take, or null: then the smaller ops do. */
  @Nullable FusedRoute route(DecodeKernels.ExpertBlock block) {
    return DecodeLimits.canRoute(block) ? route : null;
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
    matmuls.forEach(kernel -> kernel.reserve(limits));
    attentions.forEach(kernel -> kernel.reserve(limits));
    experts.forEach(kernel -> kernel.reserve(limits));
    decodes.forEach(kernel -> kernel.reserve(limits));
  }
}
