package dev.gregale.backend.cuda;

/** Products of at most 256 rows, in pieces of K that others add: {@code sm90a/decode_gemm.cu}. */
final class DecodeGemm {
  /** From this many tokens on, down's K stays whole. */
  static final int FEW_FOR_DOWN = 128;

  private static final String SOURCE = "decode_gemm";
  private static final int THREADS = 288;
  private static final int MAX_SHARED_BYTES = 231_424;
  private static final int HEAD_BYTES = 2048;
  private static final int STAGES = 8;
  private static final int WEIGHT_TILE_BYTES = 16 << 10;
  private static final int ROW_BYTES = 128;
  private static final int MAX_STAGED_ROWS = 64;
  private final KernelLauncher launcher;
  private final int multiprocessors;
  private final KernelFunction toParts;
  private final KernelFunction swiglu;

  DecodeGemm(KernelLauncher launcher, KernelModules modules, int multiprocessors) {
    this.launcher = launcher;
    this.multiprocessors = multiprocessors;
    toParts = modules.function(SOURCE, "decode_gemm_parts_bf16", MAX_SHARED_BYTES);
    swiglu = modules.function(SOURCE, "decode_gemm_swiglu_bf16", MAX_SHARED_BYTES);
  }

  /** Eight stages where the widest tile allows it; the small kernels find room beside. */
  private static int sharedBytes(int tokens) {
    int rows = Math.min(MAX_STAGED_ROWS, TiledLayout.tileRows(tokens));
    return HEAD_BYTES + STAGES * (WEIGHT_TILE_BYTES + rows * ROW_BYTES) + rows * ROW_BYTES;
  }

  /** Weight tiles that a multiprocessor takes: one even piece each, never more than all of K. */
  int steps(int n, int k) {
    int kTiles = TiledLayout.kTiles(k);
    return Math.min(kTiles, Math.ceilDiv(TiledLayout.nTiles(n) * kTiles, multiprocessors));
  }

  /** Pieces of K that an output is the sum of, at most. */
  int maxParts(int n, int k) {
    int kTiles = TiledLayout.kTiles(k);
    int steps = steps(n, k);
    int most = 1;
    for (int tile = 0; tile < TiledLayout.nTiles(n); tile++) {
      most = Math.max(most, ((tile + 1) * kTiles - 1) / steps - tile * kTiles / steps + 1);
    }
    return most;
  }

  /** The same for down, whose pieces must divide K. */
  static int downSteps(int tokens, int kTiles) {
    return tokens < FEW_FOR_DOWN && kTiles % 2 == 0 ? kTiles / 2 : kTiles;
  }

  void project(long parts, CudaTensor weight, long tile, int rows, int steps) {
    int n = weight.shape().intDim(0);
    launcher
        .begin()
        .add(parts)
        .add(weight)
        .add(tile)
        .add(0L) // no plan: one group
        .add(1)
        .add(TiledLayout.tileRows(rows))
        .add(rows)
        .add(TiledLayout.nTiles(n))
        .add(TiledLayout.kTiles(weight.shape().intDim(1)))
        .add(steps)
        .add(rows)
        .add(n)
        .add(sharedBytes(rows))
        .overlapping()
        .launch(toParts, multiprocessors, 1, 1, THREADS, sharedBytes(rows));
  }

  void gateUp(long inner, DecodeKernels.ExpertBlock block, long tiles, long plan) {
    int shared = sharedBytes(block.tokens());
    launcher
        .begin()
        .add(inner)
        .add(block.gateUp())
        .add(tiles)
        .add(plan)
        .add(block.numExperts())
        .add(TiledLayout.kTiles(block.intermediate()))
        .add(TiledLayout.kTiles(block.hidden()))
        .add(shared)
        .overlapping()
        .launch(swiglu, multiprocessors, 1, 1, THREADS, shared);
  }

  void down(long parts, DecodeKernels.ExpertBlock block, long inner, long plan, int partRows) {
    int shared = sharedBytes(block.tokens());
    int kTiles = TiledLayout.kTiles(block.intermediate());
    launcher
        .begin()
        .add(parts)
        .add(block.down())
        .add(inner)
        .add(plan)
        .add(block.numExperts())
        .add(0)
        .add(0)
        .add(TiledLayout.nTiles(block.hidden()))
        .add(kTiles)
        .add(downSteps(block.tokens(), kTiles))
        .add(partRows)
        .add(block.hidden())
        .add(shared)
        .overlapping()
        .launch(toParts, multiprocessors, 1, 1, THREADS, shared);
  }
}
