package dev.gregale.backend.cpu;

import static dev.gregale.backend.cpu.VectorMath.FLOATS;
import static dev.gregale.backend.cpu.VectorMath.INTS;
import static dev.gregale.backend.cpu.VectorMath.LANES;
import static java.nio.ByteOrder.LITTLE_ENDIAN;

import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.util.Arrays;
import jdk.incubator.vector.ByteVector;
import jdk.incubator.vector.FloatVector;
import jdk.incubator.vector.IntVector;
import jdk.incubator.vector.VectorOperators;
import jdk.incubator.vector.VectorShape;
import jdk.incubator.vector.VectorSpecies;

/**
 * Keys and values of one sequence and KV head, from F8_E4M3 codes and scales to fp32: {@code
 * [vectors of places, d, L]} keys and {@code [places, padded d]} values. Grows as later tokens see
 * more. One thread's.
 */
final class WidenedKv {

  /** Of L codes; the narrowest vector has 8 lanes, so that with L = 4 some follow unused. */
  private static final VectorSpecies<Byte> BYTES =
      VectorSpecies.of(byte.class, VectorShape.forBitSize(Math.max(8, LANES) * Byte.SIZE));

  private static final int VECTOR_BYTES = LANES * Float.BYTES;

  private int sequence;
  private int kvHead;
  private int headDim; // that the offsets are of
  private int begin; // vectors of places that are widened
  private int end;
  private MemorySegment keys = MemorySegment.NULL;
  private MemorySegment values = MemorySegment.NULL;
  private long[] keyOffsets = {};
  private long[] valueOffsets = {};

  /** Forgets the sequence. */
  void clear() {
    sequence = -1;
  }

  /** Makes places [from, to) of a sequence's head readable. */
  void cover(VectorKvLayer kv, KvPlaces places, int sequence, int kvHead, int from, int to) {
    int first = from / LANES;
    int last = (to + LANES - 1) / LANES;
    if (this.sequence != sequence || this.kvHead != kvHead || first < begin || first > end) {
      this.sequence = sequence;
      this.kvHead = kvHead;
      begin = first;
      end = first;
    }
    if (keyOffsets.length < last || headDim != kv.headDim()) {
      grow(kv, Math.max(keyOffsets.length, 2 * last));
    }
    for (; end < last; end++) {
      widenKeys(kv, places.keys()[end], places.scales()[end]);
      widenValues(kv, places, Math.min(LANES, to - end * LANES));
    }
    if (to % LANES != 0) {
      end = last - 1; // its last places may be written later, or belong to nobody
    }
  }

  private void grow(VectorKvLayer kv, int vectors) {
    headDim = kv.headDim();
    long keyBytes = (long) kv.headDim() * VECTOR_BYTES;
    long valueBytes = (long) kv.paddedDim() * Float.BYTES;
    keys = Arena.ofAuto().allocate(vectors * keyBytes, 64);
    values = Arena.ofAuto().allocate(vectors * LANES * valueBytes, 64);
    keyOffsets = new long[vectors];
    valueOffsets = new long[vectors * LANES];
    Arrays.setAll(keyOffsets, v -> v * keyBytes);
    Arrays.setAll(valueOffsets, place -> place * valueBytes);
    end = begin; // what was there is gone
  }

  private void widenKeys(VectorKvLayer kv, long at, long scaleAt) {
    long start = at + (long) kvHead * kv.headDim() * kv.keyStride();
    FloatVector scale =
        FloatVector.fromMemorySegment(FLOATS, kv.keyScales(), scaleAt + ofHead(kv), LITTLE_ENDIAN);
    long to = keyOffsets[end];
    for (int i = 0; i < kv.headDim(); i++) {
      widen(kv.keys(), start + (long) i * kv.keyStride())
          .mul(scale)
          .intoMemorySegment(keys, to + (long) i * VECTOR_BYTES, LITTLE_ENDIAN);
    }
  }

  private long ofHead(VectorKvLayer kv) {
    return (long) kvHead * kv.paddedBlock() * Float.BYTES;
  }

  private void widenValues(VectorKvLayer kv, KvPlaces places, int count) {
    long head = (long) kvHead * kv.blockSize() * kv.valueStride();
    for (int lane = 0; lane < count; lane++) {
      int place = end * LANES + lane;
      long scaleAt = places.scales()[end] + ofHead(kv) + (long) lane * Float.BYTES;
      float scale = kv.valueScales().get(ValueLayout.JAVA_FLOAT_UNALIGNED, scaleAt);
      widenRow(kv, places.values()[place] + head, scale, valueOffsets[place]);
    }
  }

  private void widenRow(VectorKvLayer kv, long from, float scale, long to) {
    for (int i = 0; i < kv.paddedDim(); i += LANES) {
      widen(kv.values(), from + i)
          .mul(scale)
          .intoMemorySegment(values, to + (long) i * Float.BYTES, LITTLE_ENDIAN);
    }
  }

  private static FloatVector widen(MemorySegment codes, long at) {
    return VectorMath.ofE4M3(
        ((IntVector)
                ByteVector.fromMemorySegment(BYTES, codes, at, LITTLE_ENDIAN)
                    .convertShape(VectorOperators.ZERO_EXTEND_B2I, INTS, 0))
            .lanewise(VectorOperators.LSHL, 24));
  }

  MemorySegment keys() {
    return keys;
  }

  /** Byte offsets by vector of places. */
  long[] keyOffsets() {
    return keyOffsets;
  }

  MemorySegment values() {
    return values;
  }

  /** Byte offsets by place. */
  long[] valueOffsets() {
    return valueOffsets;
  }
}
