package dev.gregale.backend.cuda;

import dev.gregale.backend.WorkspaceLimits;

/** One new token of every sequence over the paged cache: {@code decode_attention.cu}. */
final class DecodeAttention {
  private static final String SOURCE = "decode_attention";
  private static final int THREADS = 128;

  /** Shared memory's part of a multiprocessor, the same for all kernels that run side by side. */
  static final int CARVE_OUT = 57;

  private final KernelLauncher launcher;
  private final Workspace workspace;
  private final KernelFunction dim128;
  private final KernelFunction dim64;
  private final KernelFunction codes128;
  private final KvCodes.Kernels kvCodes;

  DecodeAttention(KernelLauncher launcher, KernelModules modules, Workspace workspace) {
    this.launcher = launcher;
    this.workspace = workspace;
    dim128 = modules.function(SOURCE, "decode_attention_bf16_d128", 0, CARVE_OUT);
    dim64 = modules.function(SOURCE, "decode_attention_bf16_d64", 0, CARVE_OUT);
    codes128 =
        modules.function("decode_attention_fp8", "decode_attention_fp8_d128", 0, CARVE_OUT);
    kvCodes = new KvCodes.Kernels(launcher, modules);
  }

  /**
   * How a sequence's positions are cut.
   *
   * @param splits runs at most: what keeps the GPU busy with so many sequences
   * @param minRun positions of a run, at least
   */
  private record Runs(int splits, int minRun) {
    /** Codes are half the bytes: the same time is cut in smaller pieces. */
    static Runs of(int tokens, boolean hasCodes) {
      if (tokens <= 8) {
        return new Runs(16, tokens <= 4 ? 128 : 256);
      }
      if (hasCodes) {
        return new Runs(8, 512);
      }
      return new Runs(4, tokens <= 16 ? 512 : 1024);
    }
  }

  void reserve(WorkspaceLimits limits, int maxTokens) {
    int tokens = Math.min(maxTokens, limits.tokens());
    for (int t : new int[] {Math.min(tokens, 8), tokens}) {
      partials(
          t, Runs.of(t, true), limits.attention().numHeads(), limits.attention().headDim());
      counters(t, limits.attention().numKvHeads());
    }
  }

  private long partials(int tokens, Runs runs, int heads, int headDim) {
    return workspace.address(
        Workspace.Use.ATTENTION_PARTIALS, 4L * tokens * heads * runs.splits() * (headDim + 2));
  }

  private long counters(int tokens, int kvHeads) {
    return workspace.address(Workspace.Use.ATTENTION_COUNTERS, 4L * tokens * kvHeads);
  }

  /**
   * @param context rows {@code [T, H d]}, or with {@code tileRows} the token tile of the next
   *     product
   * @param queries rows of {@code queryStride} elements
   */
  void launch(
      DecodeKernels.AttentionBlock block,
      long context,
      long queries,
      int queryStride,
      int tileRows) {
    int tokens = block.tokens();
    int heads = block.shape().numHeads();
    int kvHeads = block.shape().numKvHeads();
    int headDim = block.shape().headDim();
    Runs runs = Runs.of(tokens, block.kv().codes() != null);
    kvCodes.store(block.kv(), block.shape(), block.batch());
    launcher
        .begin()
        .add(context)
        .add(partials(tokens, runs, heads, headDim))
        .add(counters(tokens, kvHeads))
        .add(queries);
    addCache(block.kv())
        .add(CudaTensor.of(block.batch().contextLens()))
        .add(CudaTensor.of(block.batch().slotMapping()))
        .add(CudaTensor.of(block.batch().blockTables()))
        .add(block.shape().scale())
        .add(block.batch().blockTables().shape().intDim(1))
        .add(queryStride)
        .add(heads)
        .add(kvHeads)
        .add(block.kv().blockSize())
        .add(block.shape().slidingWindow())
        .add(runs.minRun())
        .add(tileRows)
        .overlapping()
        .launch(kernel(block), runs.splits(), kvHeads, tokens, THREADS, 0);
  }

  private KernelLauncher addCache(CudaKvLayer kv) {
    KvCodes codes = kv.codes();
    return codes == null
        ? launcher.add(kv.keys().address()).add(kv.values().address())
        : codes.addTo(launcher);
  }

  private KernelFunction kernel(DecodeKernels.AttentionBlock block) {
    if (block.kv().codes() != null) {
      return codes128;
    }
    return block.shape().headDim() == 128 ? dim128 : dim64;
  }
}
