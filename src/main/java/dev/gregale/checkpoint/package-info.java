/** Checkpoints on disk: safetensors files and the layouts that name their tensors. */
@NullMarked
package dev.gregale.checkpoint;

import org.jspecify.annotations.NullMarked;
