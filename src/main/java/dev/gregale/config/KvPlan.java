package dev.gregale.config;

import dev.gregale.model.MixtralConfig;

/**
 * How large the KV cache is, and how long a sequence may get in it.
 *
 * @param maxModelLen prompt and output of one sequence, in tokens
 * @param numBlocks blocks of the cache
 */
record KvPlan(int maxModelLen, int numBlocks) {

  /**
   * @param blockSize tokens per block
   * @param bytesPerBlock over all layers
   * @param freeBytes what the cache may take at most
   * @throws StartupException if not even one sequence fits; the message shows the arithmetic
   */
  static KvPlan of(
      MixtralConfig config,
      EngineProperties engine,
      int blockSize,
      long bytesPerBlock,
      long freeBytes) {
    int wantedLen =
        engine.maxModelLen() == null ? config.maxPositionEmbeddings() : engine.maxModelLen();
    if (wantedLen > config.maxPositionEmbeddings()) {
      throw new StartupException(
          ExitCode.CONFIG,
          "gregale.engine.max-model-len is %d, but the model's positions end at %d"
              .formatted(wantedLen, config.maxPositionEmbeddings()));
    }
    long wantedBlocks = (long) engine.maxNumSeqs() * Math.ceilDiv(wantedLen, blockSize);
    long numBlocks =
        engine.numBlocks() == null
            ? Math.min(wantedBlocks, freeBytes / bytesPerBlock)
            : engine.numBlocks();
    numBlocks = Math.min(numBlocks, Integer.MAX_VALUE / blockSize);
    if (numBlocks * blockSize < wantedLen && engine.maxModelLen() == null) {
      wantedLen = (int) numBlocks * blockSize;
    }
    if (wantedLen < 1 || numBlocks * blockSize < wantedLen) {
      throw new StartupException(
          ExitCode.CONFIG,
          ("the KV cache has room for %d blocks of %d tokens (%d MiB at %d bytes a block), which is"
                  + " less than one sequence of max-model-len %d: lower gregale.engine.max-model-len,"
                  + " or raise gregale.engine.num-blocks or, on a GPU,"
                  + " gregale.engine.gpu-memory-utilization")
              .formatted(numBlocks, blockSize, freeBytes >> 20, bytesPerBlock, wantedLen));
    }
    return new KvPlan(wantedLen, (int) numBlocks);
  }
}
