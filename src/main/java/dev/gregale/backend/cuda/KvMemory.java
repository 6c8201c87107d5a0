package dev.gregale.backend.cuda;

import dev.gregale.backend.AttentionShape;
import dev.gregale.tensor.DType;
import java.util.HashMap;
import java.util.List;
import java.util.Map;

/**
 * Memory of KV caches. With FP8 the blocks of one layer exist in bf16 too: what prefill's attention
 * reads, of one layer at a time.
 */
final class KvMemory {
  /** What a cache can be kept in. */
  static final List<DType> DTYPES = List.of(DType.BF16, DType.F8_E4M3);

  private final CudaMemory memory;
  private final Map<SharedBlocks, CudaKvLayer> sharedBlocks = new HashMap<>();

  KvMemory(CudaMemory memory) {
    this.memory = memory;
  }

  /** What layers must agree in to share bf16 blocks. */
  private record SharedBlocks(int numBlocks, int blockSize, AttentionShape shape) {}

  /** Bytes of a block in one layer. */
  static long blockBytes(int blockSize, AttentionShape shape, DType dtype) {
    return dtype == DType.F8_E4M3
        ? 2 * (KvCodes.codeBytes(blockSize, shape) + KvCodes.scaleBytes(blockSize, shape))
        : 2L * dtype.bytes() * CudaKvLayer.blockElements(blockSize, shape);
  }

  /** Bytes of a block in bf16 that all layers share. */
  static long sharedBlockBytes(int blockSize, AttentionShape shape, DType dtype) {
    return dtype == DType.F8_E4M3 ? blockBytes(blockSize, shape, DType.BF16) : 0;
  }

  CudaKvLayer allocate(int numBlocks, int blockSize, AttentionShape shape, DType dtype) {
    if (!DTYPES.contains(dtype)) {
      throw new IllegalArgumentException(
          "the CUDA backend keeps keys and values in %s, not in %s".formatted(DTYPES, dtype));
    }
    String what = "KV cache of %d blocks of %d tokens".formatted(numBlocks, blockSize);
    if (dtype == DType.BF16) {
      return wideBlocks(numBlocks, blockSize, shape, what);
    }
    CudaKvLayer wide =
        sharedBlocks.computeIfAbsent(
            new SharedBlocks(numBlocks, blockSize, shape),
            key -> wideBlocks(numBlocks, blockSize, shape, "widened blocks of a " + what));
    long codes = numBlocks * KvCodes.codeBytes(blockSize, shape);
    long scales = numBlocks * KvCodes.scaleBytes(blockSize, shape);
    return new CudaKvLayer(
        numBlocks,
        blockSize,
        wide.keys(),
        wide.values(),
        new KvCodes(
            memory.allocateZeroed(codes, what),
            memory.allocateZeroed(codes, what),
            memory.allocateZeroed(scales, what),
            memory.allocateZeroed(scales, what)));
  }

  private CudaKvLayer wideBlocks(int numBlocks, int blockSize, AttentionShape shape, String what) {
    long bytes = DType.BF16.bytes() * numBlocks * CudaKvLayer.blockElements(blockSize, shape);
    return new CudaKvLayer(
        numBlocks,
        blockSize,
        memory.allocateZeroed(bytes, what),
        memory.allocateZeroed(bytes, what),
        null);
  }
}
