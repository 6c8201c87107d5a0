package dev.gregale.backend.cuda;

import dev.gregale.backend.AttentionShape;
import dev.gregale.backend.ForwardBatch;

/**
 * One layer's keys and values in FP8: codes {@code [block, G, token, d]} and an fp32 scale of every
 * token and head ({@code kv_codes.cuh}).
 */
record KvCodes(
    DevicePointer keys, DevicePointer values, DevicePointer keyScales, DevicePointer valueScales) {
  private static final int GRAIN = 16; // codes that a row is padded to

  /** Bytes of a block's keys, or of its values. */
  static long codeBytes(int blockSize, AttentionShape shape) {
    return (long) blockSize * shape.numKvHeads() * (Math.ceilDiv(shape.headDim(), GRAIN) * GRAIN);
  }

  /** Bytes of their scales. */
  static long scaleBytes(int blockSize, AttentionShape shape) {
    return 4L * blockSize * shape.numKvHeads();
  }

  /** Adds all four arrays. */
  KernelLauncher addTo(KernelLauncher launcher) {
    return launcher
        .add(keys.address())
        .add(values.address())
        .add(keyScales.address())
        .add(valueScales.address());
  }

  /** To and from the bf16 blocks that other kernels read and write: {@code kv_cache_fp8.cu}. */
  static final class Kernels {
    private static final String SOURCE = "kv_cache_fp8";
    private static final int STORE_THREADS = 64;
    private static final int EXPAND_THREADS = 256;
    private final KernelLauncher launcher;
    private final KernelFunction store;
    private final KernelFunction expand;

    Kernels(KernelLauncher launcher, KernelModules modules) {
      this.launcher = launcher;
      store = modules.function(SOURCE, "kv_store_fp8");
      expand = modules.function(SOURCE, "kv_expand_bf16");
    }

    /** Codes of the batch's own tokens, which stand in the bf16 blocks. */
    void store(CudaKvLayer kv, AttentionShape shape, ForwardBatch batch) {
      KvCodes codes = kv.codes();
      if (codes == null) {
        return;
      }
      codes
          .addTo(launcher.begin())
          .add(kv.keys().address())
          .add(kv.values().address())
          .add(CudaTensor.of(batch.slotMapping()))
          .add(shape.numKvHeads())
          .add(shape.headDim())
          .add(kv.blockSize())
          .overlapping()
          .launch(store, shape.numKvHeads(), batch.numTokens(), 1, STORE_THREADS, 0);
    }

    /** The bf16 blocks of all that the batch's sequences see. */
    void expand(CudaKvLayer kv, AttentionShape shape, ForwardBatch batch) {
      KvCodes codes = kv.codes();
      if (codes == null) {
        return;
      }
      launcher.begin().add(kv.keys().address()).add(kv.values().address());
      codes
          .addTo(launcher)
          .add(CudaTensor.of(batch.blockTables()))
          .add(CudaTensor.of(batch.contextLens()))
          .add(shape.numKvHeads())
          .add(shape.headDim())
          .add(kv.blockSize())
          .launch(
              expand, batch.blockTables().shape().intDim(1), batch.numSeqs(), 1, EXPAND_THREADS, 0);
    }
  }
}
