package dev.gregale.backend.cuda;

import dev.gregale.tensor.InputScaling;

/**
 * What comes with the tiles of FP8 codes.
 *
 * @param pointer the scales in the tiles' order
 * @param bytes of tiles and scales
 * @param inputs what is to be done to the inputs of a product
 */
record CodeScales(WeightFormat format, DevicePointer pointer, long bytes, InputScaling inputs) {}
