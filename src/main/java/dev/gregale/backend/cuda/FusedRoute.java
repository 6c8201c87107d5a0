package dev.gregale.backend.cuda;

import dev.gregale.tensor.DType;

/**
 * What comes before the experts of a block, rmsNorm, the product with the router and routeTopK, in
 * one launch for any number of tokens: {@code decode_route_bf16}.
 */
final class FusedRoute {
  private static final int THREADS = 256;
  private final KernelLauncher launcher;
  private final KernelFunction route;

  FusedRoute(KernelLauncher launcher, KernelModules modules) {
    this.launcher = launcher;
    route = modules.function("decode_rows", "decode_route_bf16");
  }

  /** The block's input, normalised. */
  static CudaTensor normed(DecodeKernels.ExpertBlock block) {
    return CudaTensor.of(block.scratch().hidden(), DType.BF16, "hidden");
  }

  void launch(DecodeKernels.ExpertBlock block) {
    launcher
        .begin()
        .add(normed(block))
        .add(block.expertIds())
        .add(block.expertWeights())
        .add(block.residual())
        .add(block.norm())
        .add(block.router())
        .add(CudaTensor.of(block.batch().slotMapping()))
        .add(block.eps())
        .add(block.hidden())
        .add(block.routedExperts())
        .add(block.perToken())
        .overlapping()
        .launch(route, block.tokens(), 1, 1, THREADS, DType.BF16.bytes() * block.hidden());
  }
}
