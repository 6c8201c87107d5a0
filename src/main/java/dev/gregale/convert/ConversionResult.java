package dev.gregale.convert;

import dev.gregale.checkpoint.CheckpointLayout;
import org.jspecify.annotations.Nullable;

/**
 * What a conversion makes, or would make.
 *
 * @param from the source's layout
 * @param to the target's
 * @param expertParallelSize ranks that the experts are dealt out to; 1: they are whole
 * @param tensors number of them, a rank's share counting as one
 * @param shards safetensors files
 * @param bytes of all tensors
 * @param resumedBytes those of them that an interrupted run had done
 * @param difference of the two models' logits; null where it was not asked for
 */
public record ConversionResult(
    CheckpointLayout from,
    CheckpointLayout to,
    int expertParallelSize,
    int tensors,
    int shards,
    long bytes,
    long resumedBytes,
    @Nullable LogitsDifference difference) {}
