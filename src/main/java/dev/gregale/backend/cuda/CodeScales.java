package dev.gregale.backend.cuda;

/**
 * What comes with the tiles of FP8 codes.
 *
 * @param pointer the scales in the tiles' order
 * @param bytes of tiles and scales
 */
record CodeScales(WeightFormat format, DevicePointer pointer, long bytes) {}
