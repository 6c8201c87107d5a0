package dev.gregale.backend.cpu;

import dev.gregale.backend.AttentionShape;
import dev.gregale.backend.KvLayer;
import dev.gregale.quantization.Float8CurrentScaling;
import dev.gregale.quantization.Recipe;
import dev.gregale.tensor.DType;
import dev.gregale.tensor.E4M3;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.nio.ByteOrder;

/**
 * Blocks of keys {@code [G, d, paddedBlock]}, so that scores are computed for a vector of positions
 * at a time, and of values {@code [G, blockSize, paddedDim]}, so that they are summed for a vector
 * of dimensions at a time. The padding does not depend on the vector width. Of F8_E4M3 codes, each
 * key and each value has an fp32 scale: {@code [G, paddedBlock]} per block, of keys and of values.
 */
final class VectorKvLayer implements KvLayer {
  /** Blocks are padded to a multiple of this many positions. */
  static final int POSITIONS = 16;

  /** Heads are padded to a multiple of this many dimensions: two vectors of the widest kind. */
  private static final int DIMENSIONS = 32;

  /** A vector of codes may be read beyond its lanes, see {@link AttentionTiles}. */
  private static final int OVERHANG = 8;

  private static final Recipe SCALING = new Float8CurrentScaling();

  private static final ValueLayout.OfFloat FLOAT =
      ValueLayout.JAVA_FLOAT_UNALIGNED.withOrder(ByteOrder.LITTLE_ENDIAN);
  private static final ValueLayout.OfShort SHORT =
      ValueLayout.JAVA_SHORT_UNALIGNED.withOrder(ByteOrder.LITTLE_ENDIAN);

  private final int numBlocks;
  private final int blockSize;
  private final int paddedBlock;
  private final int headDim;
  private final int paddedDim;
  private final int numKvHeads;
  private final DType dtype;
  private final MemorySegment keys;
  private final MemorySegment values;
  private final MemorySegment keyScales;
  private final MemorySegment valueScales;

  /**
   * @param dtype F32, BF16 or F8_E4M3
   */
  VectorKvLayer(Arena arena, int numBlocks, int blockSize, AttentionShape shape, DType dtype) {
    boolean coded = dtype == DType.F8_E4M3;
    if (!coded && dtype != DType.F32 && dtype != DType.BF16) {
      throw new IllegalArgumentException(
          "the CPU backend keeps no KV cache in " + dtype + "; use F32, BF16 or F8_E4M3");
    }
    this.numBlocks = numBlocks;
    this.blockSize = blockSize;
    this.headDim = shape.headDim();
    this.numKvHeads = shape.numKvHeads();
    this.dtype = dtype;
    this.paddedBlock = roundUp(blockSize, POSITIONS);
    this.paddedDim = roundUp(headDim, DIMENSIONS);
    long heads = (long) numBlocks * numKvHeads * dtype.bytes();
    this.keys = HugePages.allocate(arena, heads * headDim * paddedBlock + OVERHANG);
    this.values = HugePages.allocate(arena, heads * blockSize * paddedDim + OVERHANG);
    long scaleBytes = coded ? heads * paddedBlock * Float.BYTES : 0;
    this.keyScales = HugePages.allocate(arena, scaleBytes);
    this.valueScales = HugePages.allocate(arena, scaleBytes);
  }

  private static int roundUp(int length, int multiple) {
    return (length + multiple - 1) / multiple * multiple;
  }

  /** Writes one token's key and value of one KV head, d floats each. */
  void put(int slot, int kvHead, float[] key, int keyAt, float[] value, int valueAt) {
    int block = slot / blockSize;
    int offset = slot % blockSize;
    long keyStart = keyStart(block, kvHead) + (long) offset * dtype.bytes();
    long valueStart = valueStart(block, kvHead) + (long) offset * valueStride();
    if (dtype == DType.F32) {
      for (int i = 0; i < headDim; i++) {
        keys.set(FLOAT, keyStart + (long) i * keyStride(), key[keyAt + i]);
      }
      MemorySegment.copy(value, valueAt, values, FLOAT, valueStart, headDim);
    } else if (dtype == DType.F8_E4M3) {
      long scale = scaleStart(block, kvHead) + (long) offset * Float.BYTES;
      keyScales.set(FLOAT, scale, encode(key, keyAt, keys, keyStart, keyStride()));
      valueScales.set(FLOAT, scale, encode(value, valueAt, values, valueStart, 1));
    } else {
      for (int i = 0; i < headDim; i++) {
        keys.set(SHORT, keyStart + (long) i * keyStride(), toBf16(key[keyAt + i]));
        values.set(SHORT, valueStart + i * 2L, toBf16(value[valueAt + i]));
      }
    }
  }

  /** Returns what the codes are to be multiplied by. */
  private float encode(float[] head, int from, MemorySegment codes, long at, int stride) {
    float scale = SCALING.scale(Recipe.amax(head, from, headDim));
    for (int i = 0; i < headDim; i++) {
      codes.set(ValueLayout.JAVA_BYTE, at + (long) i * stride, E4M3.encode(head[from + i] * scale));
    }
    return SCALING.inverse(scale);
  }

  /** Rounds to nearest, ties to even; a NaN stays one. */
  private static short toBf16(float value) {
    int bits = Float.floatToIntBits(value);
    return (short) (Float.isNaN(value) ? 0x7fc0 : (bits + 0x7fff + (bits >>> 16 & 1)) >>> 16);
  }

  /** Byte offset of a block's keys of one head. */
  long keyStart(int block, int kvHead) {
    return ((long) block * numKvHeads + kvHead) * headDim * keyStride();
  }

  /** Bytes between a key's dimensions. */
  int keyStride() {
    return paddedBlock * dtype.bytes();
  }

  /** Byte offset of a block's values of one head. */
  long valueStart(int block, int kvHead) {
    return ((long) block * numKvHeads + kvHead) * blockSize * valueStride();
  }

  /** Bytes between positions of values. */
  int valueStride() {
    return paddedDim * dtype.bytes();
  }

  /** Byte offset of the scales of a block's positions of one head. */
  long scaleStart(int block, int kvHead) {
    return ((long) block * numKvHeads + kvHead) * paddedBlock * Float.BYTES;
  }

  @Override
  public int blockSize() {
    return blockSize;
  }

  @Override
  public int numBlocks() {
    return numBlocks;
  }

  /** The block size, padded. */
  int paddedBlock() {
    return paddedBlock;
  }

  /** d. */
  int headDim() {
    return headDim;
  }

  /** d, padded. */
  int paddedDim() {
    return paddedDim;
  }

  DType dtype() {
    return dtype;
  }

  MemorySegment keys() {
    return keys;
  }

  MemorySegment values() {
    return values;
  }

  MemorySegment keyScales() {
    return keyScales;
  }

  MemorySegment valueScales() {
    return valueScales;
  }
}
