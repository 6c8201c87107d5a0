package dev.gregale.backend.cuda;

/**
 * Products of at most 256 rows, in pieces of K that others add, or with K whole, as in the products
 * of more rows: {@code sm90a/decode_gemm.cu}.
 */
final class DecodeGemm {
  /** From this many tokens on, down's K stays whole. */
  static final int FEW_FOR_DOWN = 128;

  private static final String SOURCE = "decode_gemm";
  private static final int THREADS = 320;
  private static final int HALF_THREADS = 192;
  private static final int CODE_THREADS = 384;
  private static final int MAX_SHARED_BYTES = 231_424;
  private static final int HEAD_BYTES = 2048;
  private static final int STAGES = 8;
  private static final int WEIGHT_TILE_BYTES = 16 << 10;
  private static final int ROW_BYTES = 128;
  private static final int SCALE_BYTES = 1 << 10; // of a stage with codes
  private static final int MAX_STAGED_ROWS = 64;
  private static final int FEW_ROWS = 16; // one column step: tokens cost nothing beside weights
  private final KernelLauncher launcher;
  private final int multiprocessors;
  private final boolean keepsKWhole;
  private final FormatKernels toParts;
  private final FormatKernels swiglu;
  private final FormatKernels halfToParts;
  private final FormatKernels halfSwiglu;
  private final FormatKernels halfAdd;

  /**
   * @param keepsKWhole whether a sum is one piece, always: then it has the same bits in a product
   *     of any number of rows
   */
  DecodeGemm(
      KernelLauncher launcher, KernelModules modules, int multiprocessors, boolean keepsKWhole) {
    this.launcher = launcher;
    this.multiprocessors = multiprocessors;
    this.keepsKWhole = keepsKWhole;
    toParts = kernels(modules, "decode_gemm_parts_%s");
    swiglu = kernels(modules, "decode_gemm_swiglu_%s");
    halfToParts = kernels(modules, "decode_gemm_parts_half_%s");
    halfSwiglu = kernels(modules, "decode_gemm_swiglu_half_%s");
    halfAdd = kernels(modules, "decode_gemm_add_half_%s");
  }

  boolean keepsKWhole() {
    return keepsKWhole;
  }

  private static FormatKernels kernels(KernelModules modules, String name) {
    return new FormatKernels(
        modules, SOURCE, name, MAX_SHARED_BYTES, KernelModules.DRIVERS_CARVE_OUT);
  }

  /** Eight stages where the widest tile allows it; the small kernels find room beside. */
  private static int sharedBytes(int tokens, WeightFormat format) {
    int rows = Math.min(MAX_STAGED_ROWS, TiledLayout.tileRows(tokens));
    int head = HEAD_BYTES + rows * ROW_BYTES;
    if (format == WeightFormat.BF16) {
      return head + STAGES * (WEIGHT_TILE_BYTES + rows * ROW_BYTES);
    }
    int stage = WEIGHT_TILE_BYTES + 2 * rows * ROW_BYTES + SCALE_BYTES;
    return head + Math.min(STAGES, (MAX_SHARED_BYTES - head) / stage) * stage;
  }

  private static int threads(WeightFormat format) {
    return format == WeightFormat.BF16 ? THREADS : CODE_THREADS;
  }

  /** Weight tiles that a multiprocessor takes: one even piece each, never more than all of K. */
  int steps(int n, int k, WeightFormat format) {
    int kTiles = format.kTiles(k);
    if (keepsKWhole) {
      return kTiles;
    }
    return Math.min(kTiles, Math.ceilDiv(TiledLayout.nTiles(n) * kTiles, multiprocessors));
  }

  /** Pieces of K that an output is the sum of, at most, whatever the weight's format. */
  int maxParts(int n, int k) {
    int most = 1;
    for (WeightFormat format : WeightFormat.values()) {
      int kTiles = format.kTiles(k);
      int steps = steps(n, k, format);
      for (int tile = 0; tile < TiledLayout.nTiles(n); tile++) {
        most = Math.max(most, ((tile + 1) * kTiles - 1) / steps - tile * kTiles / steps + 1);
      }
    }
    return most;
  }

  /** The same for down, whose pieces must divide K. */
  int downSteps(int tokens, int kTiles) {
    return !keepsKWhole && tokens < FEW_FOR_DOWN && kTiles % 2 == 0 ? kTiles / 2 : kTiles;
  }

  /** Arguments after the weight differ in one: where there are codes, tokens have own tiles. */
  private void addTiles(WeightFormat format, int k) {
    launcher.add(format.kTiles(k));
    if (format != WeightFormat.BF16) {
      launcher.add(TiledLayout.kTiles(k));
    }
  }

  void project(long parts, CudaTensor weight, long tile, int rows, int steps) {
    int n = weight.shape().intDim(0);
    int shared = sharedBytes(rows, weight.format());
    launcher
        .begin()
        .add(parts)
        .addWeight(weight)
        .add(tile)
        .add(0L) // no plan: one group
        .add(1)
        .add(TiledLayout.tileRows(rows))
        .add(rows)
        .add(TiledLayout.nTiles(n));
    addTiles(weight.format(), weight.shape().intDim(1));
    launcher.add(steps).add(rows).add(n).add(shared);
    boolean hasFewTiles = keepsKWhole && TiledLayout.nTiles(n) < multiprocessors;
    launch(toParts, halfToParts, hasFewTiles || takesHalves(rows), weight, shared);
  }

  /** {@code residual [rows, n] += weight * tile}, where K stays whole. */
  void add(CudaTensor residual, CudaTensor weight, long tile, int rows) {
    int n = weight.shape().intDim(0);
    int shared = sharedBytes(rows, weight.format());
    launcher
        .begin()
        .add(residual)
        .addWeight(weight)
        .add(tile)
        .add(TiledLayout.tileRows(rows))
        .add(rows)
        .add(TiledLayout.nTiles(n));
    addTiles(weight.format(), weight.shape().intDim(1));
    launcher.add(n).add(shared);
    launch(halfAdd, halfAdd, true, weight, shared);
  }

  void gateUp(long inner, DecodeKernels.ExpertBlock block, long tiles, long plan) {
    CudaTensor weight = block.gateUp();
    int shared = sharedBytes(block.tokens(), weight.format());
    launcher
        .begin()
        .add(inner)
        .addWeight(weight)
        .add(tiles)
        .add(plan)
        .add(block.numExperts())
        .add(TiledLayout.kTiles(block.intermediate()));
    addTiles(weight.format(), block.hidden());
    launcher.add(shared);
    launch(swiglu, halfSwiglu, takesHalves(block.tokens()), weight, shared);
  }

  void down(long parts, DecodeKernels.ExpertBlock block, long inner, long plan, int partRows) {
    CudaTensor weight = block.down();
    int shared = sharedBytes(block.tokens(), weight.format());
    launcher
        .begin()
        .add(parts)
        .addWeight(weight)
        .add(inner)
        .add(plan)
        .add(block.numExperts())
        .add(0)
        .add(0)
        .add(TiledLayout.nTiles(block.hidden()));
    addTiles(weight.format(), block.intermediate());
    launcher
        .add(downSteps(block.tokens(), weight.format().kTiles(block.intermediate())))
        .add(partRows)
        .add(block.hidden())
        .add(shared);
    launch(toParts, halfToParts, takesHalves(block.tokens()), weight, shared);
  }

  /** Of few tokens experts may be few, too, and read at the speed of all multiprocessors. */
  private boolean takesHalves(int tokens) {
    return keepsKWhole && tokens <= FEW_ROWS;
  }

  /**
   * @param halves of half a weight tile at a time, taken where there are few tiles
   */
  private void launch(
      FormatKernels tiles,
      FormatKernels halves,
      boolean takesHalves,
      CudaTensor weight,
      int shared) {
    WeightFormat format = weight.format();
    KernelFunction kernel = (takesHalves ? halves : tiles).of(format);
    int threads = takesHalves ? HALF_THREADS : threads(format);
    launcher.overlapping().launch(kernel, multiprocessors, 1, 1, threads, shared);
  }
}
