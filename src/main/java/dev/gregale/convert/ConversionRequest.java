package dev.gregale.convert;

import dev.gregale.checkpoint.CheckpointLayout;
import dev.gregale.checkpoint.ExpertRank;
import dev.gregale.quantization.Quantization;
import dev.gregale.tensor.DType;
import java.nio.file.Path;
import org.jspecify.annotations.Nullable;

/**
 * What to convert, and how.
 *
 * @param source model directory
 * @param target directory to be made; its parent must exist
 * @param to Hugging Face's published names or TransformerEngine's; null: Hugging Face's where
 *     weights are quantised or dequantised, else the one that the source does not have
 * @param dtype F32, F16 or BF16 of all tensors; null: as in the source
 * @param quantization of the projections of attention and experts; NONE: as in the source, which
 *     may be quantised already. {@code dtype} is of all other tensors
 * @param dequantize whether what is quantised in the source is written in {@code dtype} or, where
 *     that is null, in the type of the source's embedding
 * @param maxShardBytes data per file; a larger tensor has a file of its own
 * @param expertParallelSize ranks that the experts of TransformerEngine's layout are dealt out to
 *     ({@link ExpertRank}); 1: they stay whole. Above 1 that layout is the default
 * @param overwrite whether a checkpoint in the target's place is replaced, and an interrupted
 *     conversion of something else given up
 * @param resume whether there must be an interrupted conversion to go on with; without it one that
 *     is there is gone on with, too
 */
public record ConversionRequest(
    Path source,
    Path target,
    @Nullable CheckpointLayout to,
    @Nullable DType dtype,
    Quantization quantization,
    boolean dequantize,
    long maxShardBytes,
    int expertParallelSize,
    boolean overwrite,
    boolean resume) {

  /** Hugging Face's default. */
  public static final long DEFAULT_MAX_SHARD_BYTES = 5_000_000_000L;

  /** Ranks that there may be at most. */
  public static final int MAX_EXPERT_PARALLEL_SIZE = ExpertRank.MAX_SIZE;

  public ConversionRequest {
    if (to == CheckpointLayout.HUGGING_FACE_FUSED) {
      throw new IllegalArgumentException("names of transformers 5 in memory are not written");
    }
    if (dtype != null && !dtype.isWeight()) {
      throw new IllegalArgumentException(dtype + ": expected F32, F16 or BF16");
    }
    if (quantization != Quantization.NONE && dequantize) {
      throw new IllegalArgumentException("either quantised or dequantised");
    }
    if (maxShardBytes < 1) {
      throw new IllegalArgumentException(maxShardBytes + ": a file holds at least a byte");
    }
    int maxRanks = to == CheckpointLayout.HUGGING_FACE ? 1 : MAX_EXPERT_PARALLEL_SIZE;
    if (expertParallelSize < 1 || expertParallelSize > maxRanks) {
      throw new IllegalArgumentException(
          "%d ranks, expected 1 to %d in the layout %s"
              .formatted(expertParallelSize, maxRanks, to));
    }
  }

  /** With every option as it is by default. */
  public static ConversionRequest of(Path source, Path target) {
    return new ConversionRequest(
        source,
        target,
        null,
        null,
        Quantization.NONE,
        false,
        DEFAULT_MAX_SHARD_BYTES,
        1,
        false,
        false);
  }

  /** Whether values may differ from the source's. */
  boolean changesValues() {
    return dtype != null || quantization != Quantization.NONE || dequantize;
  }
}
