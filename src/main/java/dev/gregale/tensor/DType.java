package dev.gregale.tensor;

import java.util.Arrays;

/**
 * The element types of a checkpoint or a device array, under their safetensors names. Weights of a
 * model are {@link #F32}, {@link #F16} or {@link #BF16}; the others occur beside weights (indices,
 * quantised codes, states that are never read).
 */
public enum DType {
  F64(8),
  F32(4),
  F16(2),
  BF16(2),
  F8_E4M3(1),
  F8_E5M2(1),
  F8_E8M0(1),
  I64(8),
  I32(4),
  I16(2),
  I8(1),
  U64(8),
  U32(4),
  U16(2),
  U8(1),
  BOOL(1);

  private final int bytes;

  DType(int bytes) {
    this.bytes = bytes;
  }

  /** Bytes per element. */
  public int bytes() {
    return bytes;
  }

  /** Whether weights of this type can be loaded into a model. */
  public boolean isWeight() {
    return this == F32 || this == F16 || this == BF16;
  }

  /**
   * The type of that safetensors name.
   *
   * @throws IllegalArgumentException if the name is unknown; the message lists the known ones
   */
  public static DType ofSafetensors(String name) {
    for (DType dtype : values()) {
      if (dtype.name().equals(name)) {
        return dtype;
      }
    }
    throw new IllegalArgumentException(
        "unknown dtype '" + name + "', known are " + Arrays.toString(values()));
  }
}
