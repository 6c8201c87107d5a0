package dev.gregale.backend.cuda;

import dev.gregale.backend.WorkspaceLimits;

/** One new token of every sequence over the paged cache: {@code decode_attention.cu}. */
final class DecodeAttention implements BlockAttention {
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
    codes128 = modules.function("decode_attention_fp8", "decode_attention_fp8_d128", 0, CARVE_OUT);
    kvCodes = new KvCodes.Kernels(launcher, modules);
  }

  /** Runs of a sequence's positions, at most: what keeps the GPU busy with so many sequences. */
  private static int splits(int tokens) {
    return tokens <= 8 ? 16 : 4;
  }

  /** Positions of a run, at least. */
  private static int minRun(int tokens) {
    if (tokens <= 4) {
      return 128;
    }
    if (tokens <= 8) {
      return 256;
    }
    return tokens <= 16 ? 512 : 1024;
  }

  @Override
  public void reserve(WorkspaceLimits limits, int maxTokens) {
    int tokens = Math.min(maxTokens, limits.tokens());
    for (int t : new int[] {Math.min(tokens, 8), tokens}) {
      partials(t, limits.attention().numHeads(), limits.attention().headDim());
      counters(t, limits.attention().numKvHeads());
    }
  }

  private long partials(int tokens, int heads, int headDim) {
    return workspace.address(
        Workspace.Use.ATTENTION_PARTIALS, 4L * tokens * heads * splits(tokens) * (headDim + 2));
  }

  private long counters(int tokens, int kvHeads) {
    return workspace.address(Workspace.Use.ATTENTION_COUNTERS, 4L * tokens * kvHeads);
  }

  @Override
  public void launch(
      DecodeKernels.AttentionBlock block,
      long context,
      long queries,
      int queryStride,
      int tileRows) {
    int tokens = block.tokens();
    int heads = block.shape().numHeads();
    int kvHeads = block.shape().numKvHeads();
    int headDim = block.shape().headDim();
    kvCodes.store(block.kv(), block.shape(), block.batch());
    launcher
        .begin()
        .add(context)
        .add(partials(tokens, heads, headDim))
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
        .add(minRun(tokens))
        .add(tileRows)
        .overlapping()
        .launch(kernel(block), splits(tokens), kvHeads, tokens, THREADS, 0);
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
