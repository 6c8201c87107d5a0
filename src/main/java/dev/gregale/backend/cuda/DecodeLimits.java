package dev.gregale.backend.cuda;

/**
 * What the decode kernels can do; the restrictions stand in the head comments of {@code
 * decode_*.cu}.
 *
 * @param minTokens of a batch
 * @param maxTokens of a batch
 * @param maxPairs of (token, slot)
 * @param isRagged whether a sequence may have several of the tokens
 */
record DecodeLimits(int minTokens, int maxTokens, int maxPairs, boolean isRagged) {
  private static final int MAX_WIDTH = 8192; // eight rows fit shared memory
  private static final int MAX_EXPERTS = 16;
  private static final int MAX_GROUP = 8;
  private static final int GRAIN = 16;

  private boolean hasTokens(int tokens) {
    return tokens >= minTokens && tokens <= maxTokens;
  }

  private static boolean isWhole(int width) {
    return width % TiledLayout.TILE_K == 0 && width <= MAX_WIDTH;
  }

  /** These kernels read tiles, and never quantise inputs. */
  private static boolean isTiled(CudaTensor weight) {
    return weight.layout() == WeightLayout.TILED && !weight.alwaysQuantizesInputs();
  }

  /** What lies between gate_up and down stands in another order where there are codes. */
  private static boolean isAlike(CudaTensor a, CudaTensor b) {
    return (a.format() == WeightFormat.BF16) == (b.format() == WeightFormat.BF16);
  }

  boolean allow(DecodeKernels.AttentionBlock block) {
    int headDim = block.shape().headDim();
    return isTiled(block.qkv())
        && isTiled(block.output())
        && (isRagged || block.batch().numSeqs() == block.tokens())
        && hasTokens(block.tokens())
        && isWhole(block.hidden())
        && isWhole(block.contextWidth())
        && (headDim == 128 || (headDim == 64 && block.kv().codes() == null))
        && block.shape().numHeads() / block.shape().numKvHeads() <= MAX_GROUP
        && block.kv().blockSize() % GRAIN == 0;
  }

  boolean allow(DecodeKernels.ExpertBlock block) {
    return fits(block)
        && hasTokens(block.tokens())
        && block.tokens() * block.perToken() <= maxPairs;
  }

  /** The same for the weights alone, whatever the batch. */
  static boolean fits(DecodeKernels.ExpertBlock block) {
    return isTiled(block.gateUp())
        && isTiled(block.down())
        && isAlike(block.gateUp(), block.down())
        && canRoute(block);
  }

  /** Whether {@link FusedRoute} can route for it, however its experts are kept. */
  static boolean canRoute(DecodeKernels.ExpertBlock block) {
    return isWhole(block.hidden()) && block.routedExperts() <= MAX_EXPERTS;
  }

  boolean allow(DecodeKernels.Logits logits) {
    return isTiled(logits.lmHead())
        && hasTokens(logits.rows())
        && isWhole(logits.hidden())
        && logits.vocabSize() % GRAIN == 0;
  }

  /** Shared memory of rows of that width, as the kernels for at most 8 tokens keep them. */
  static int tokenBytes(int rows, int width) {
    return rows * (2 * width + 64);
  }

  /** The most of it. */
  static int maxTokenBytes() {
    return tokenBytes(8, MAX_WIDTH);
  }
}
