package dev.gregale.backend.cpu;

import dev.gregale.tensor.DType;
import java.lang.foreign.MemorySegment;

/**
 * Where one KV head's keys and values lie; shown anew for each head, lest the attention of every
 * token allocate.
 */
final class KvView {
  private boolean bf16;
  private MemorySegment keys = MemorySegment.NULL;
  private long[] keyAt = {};
  private long keyOfHead;
  private int keyStride;
  private MemorySegment values = MemorySegment.NULL;
  private long[] valueAt = {};
  private long valueOfHead;

  /** The cache itself. */
  void show(VectorKvLayer kv, KvPlaces places, int kvHead) {
    bf16 = kv.dtype() == DType.BF16;
    keys = kv.keys();
    keyAt = places.keys();
    keyOfHead = (long) kvHead * kv.headDim() * kv.keyStride();
    keyStride = kv.keyStride();
    values = kv.values();
    valueAt = places.values();
    valueOfHead = (long) kvHead * kv.blockSize() * kv.valueStride();
  }

  /** What codes have been widened to. */
  void show(WidenedKv widened) {
    bf16 = false;
    keys = widened.keys();
    keyAt = widened.keyOffsets();
    keyOfHead = 0;
    keyStride = VectorMath.LANES * Float.BYTES;
    values = widened.values();
    valueAt = widened.valueOffsets();
    valueOfHead = 0;
  }

  /** Whether they are bf16, else fp32. */
  boolean bf16() {
    return bf16;
  }

  MemorySegment keys() {
    return keys;
  }

  /** Bytes by vector of places. */
  long[] keyAt() {
    return keyAt;
  }

  /** Bytes to be added. */
  long keyOfHead() {
    return keyOfHead;
  }

  /** Bytes between a key's dimensions. */
  int keyStride() {
    return keyStride;
  }

  MemorySegment values() {
    return values;
  }

  /** Bytes by place. */
  long[] valueAt() {
    return valueAt;
  }

  /** Bytes to be added. */
  long valueOfHead() {
    return valueOfHead;
  }
}
