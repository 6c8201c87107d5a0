package dev.gregale.backend.cpu;

import static dev.gregale.backend.cpu.VectorMath.LANES;

/**
 * Where a sequence's positions lie in a {@link VectorKvLayer}. Positions are counted in places:
 * block by block with the padding of each block. One thread's, and of one sequence at a time.
 */
final class KvPlaces {
  private int sequence;
  private long[] keys = {}; // per vector of places
  private long[] values = {}; // per place
  private long[] scales = {}; // per vector of places

  /** Forgets the sequence. */
  void clear() {
    sequence = -1;
  }

  /** The place of a position. */
  static int placeOf(VectorKvLayer kv, int position) {
    return position / kv.blockSize() * kv.paddedBlock() + position % kv.blockSize();
  }

  /**
   * Looks up a sequence's first {@code positions} positions, unless that was done last.
   *
   * @param table index of the sequence's first block in {@code blockTables}
   */
  void locate(VectorKvLayer kv, int sequence, int[] blockTables, int table, int positions) {
    if (this.sequence == sequence) {
      return;
    }
    this.sequence = sequence;
    int blocks = Math.ceilDiv(positions, kv.blockSize());
    int places = blocks * kv.paddedBlock();
    if (values.length < places) {
      values = new long[places * 2];
      keys = new long[places * 2 / LANES];
      scales = new long[places * 2 / LANES];
    }
    int vector = 0;
    int place = 0;
    for (int b = 0; b < blocks; b++) {
      long key = kv.keyStart(blockTables[table + b], 0);
      long scale = kv.scaleStart(blockTables[table + b], 0);
      for (int i = 0; i < kv.paddedBlock(); i += LANES) {
        scales[vector] = scale + (long) i * Float.BYTES;
        keys[vector++] = key + (long) i * kv.dtype().bytes();
      }
      long value = kv.valueStart(blockTables[table + b], 0);
      for (int i = 0; i < kv.paddedBlock(); i++) {
        // Padding has weight 0, and stands at the block's first position: one that was written.
        values[place++] = i < kv.blockSize() ? value + (long) i * kv.valueStride() : value;
      }
    }
  }

  /** Byte offsets of the first KV head's keys, by vector of places. */
  long[] keys() {
    return keys;
  }

  /** Byte offsets of the first KV head's values, by place. */
  long[] values() {
    return values;
  }

  /** Byte offsets of the scales of the first KV head's keys, and of its values, likewise. */
  long[] scales() {
    return scales;
  }
}
