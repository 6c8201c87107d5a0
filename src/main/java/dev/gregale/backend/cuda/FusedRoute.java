package dev.gregale.backend.cuda;

import dev.gregale.tensor.DType;

/**
 * What comes before the experts of a block, rmsNorm, the product with the router and routeTopK, in
 * one launch for any number of tokens: {@code decode_route_bf16}.
 */
final class FusedRoute {
  private static final int THREADS = 256;
  private static final int BLOCKS = 2; // of a multiprocessor at a time
  private final KernelLauncher launcher;
  private final KernelFunction route;
  private final int multiprocessors;

  FusedRoute(KernelLauncher launcher, KernelModules modules, int multiprocessors) {
    this.launcher = launcher;
    this.multiprocessors = multiprocessors;
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
        .add(block.tokens())
        .add(block.hidden())
        .add(block.routedExperts())
        .add(block.perToken())
        .overlapping()
        .launch(
            route,
            Math.min(block.tokens(), BLOCKS * multiprocessors),
            1,
            1,
            THREADS,
            DType.BF16.bytes() * block.hidden());
  }
}
