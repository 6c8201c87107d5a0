package dev.gregale.checkpoint;

import dev.gregale.tensor.DType;
import dev.gregale.tensor.Shape;

/**
 * Where a tensor lies in a safetensors file.
 *
 * @param offset bytes from the start of the file; need not be a multiple of the element size
 * @param bytes length of the data, always {@code shape.numBytes(dtype)}
 */
public record TensorInfo(String name, DType dtype, Shape shape, long offset, long bytes) {}
