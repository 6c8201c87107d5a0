package dev.gregale.convert;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import dev.gregale.checkpoint.CheckpointException;
import dev.gregale.tensor.DType;
import dev.gregale.tensor.HostTensor;
import dev.gregale.tensor.Shape;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.util.List;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

class WeightCastTest {

  /** Every bfloat16 and what lies between it and the next, against the distance itself. */
  @Test
  void bfloat16IsTheNearestAndEvenOfTwo() {
    int[] between = {0, 1, 0x7fff, 0x8000, 0x8001, 0xffff};
    for (int high = 0; high < 0x7f80; high++) {
      for (int low : between) {
        float value = Float.intBitsToFloat(high << 16 | low);
        // The next number up of the largest would be 2^128.
        double up = high == 0x7f7f ? 0x1p128 : Float.intBitsToFloat(high + 1 << 16);
        double below = (double) value - Float.intBitsToFloat(high << 16);
        double above = up - value;
        int expected = below < above || below == above && high % 2 == 0 ? high : high + 1;
        assertThat(WeightCast.bfloat16(value)).isEqualTo((short) expected);
        assertThat(WeightCast.bfloat16(-value)).isEqualTo((short) (expected | 0x8000));
      }
    }
  }

  @Test
  void nansStayNans() {
    for (int bits : new int[] {0x7f800001, 0x7fffffff, 0xff800001, 0x7fc00000}) {
      int cast = WeightCast.bfloat16(Float.intBitsToFloat(bits)) << 16;
      assertThat(Float.intBitsToFloat(cast)).isNaN();
    }
    assertThat(WeightCast.bfloat16(Float.NEGATIVE_INFINITY)).isEqualTo((short) 0xff80);
  }

  /**
   * Values from IEEE 754's binary16: the tie, the largest, the smallest subnormal and half of it.
   */
  @ParameterizedTest
  @CsvSource({
    "1.00048828125, 3c00",
    "1.00146484375, 3c02",
    "65504, 7bff",
    "65519.996, 7bff",
    "5.9604645e-8, 0001",
    "2.9802322e-8, 0000",
    "2.9802326e-8, 0001",
    "-0.0, 8000",
  })
  void float16(float value, String expected) throws IOException {
    byte[] bytes = cast(DType.F16, value);
    assertThat("%02x%02x".formatted(bytes[1], bytes[0])).isEqualTo(expected);
  }

  @Test
  void severalPiecesAndSlabs() throws IOException {
    MemorySegment slab = MemorySegment.ofArray(new byte[8]);
    ValueLayout.OfFloat floats =
        ValueLayout.JAVA_FLOAT_UNALIGNED.withOrder(ByteOrder.LITTLE_ENDIAN);
    slab.set(floats, 0, 1f);
    slab.set(floats, 4, 2f);
    HostTensor tensor = new HostTensor("x", DType.F32, Shape.of(2, 2), List.of(slab, slab));
    ByteArrayOutputStream out = new ByteArrayOutputStream();
    WeightCast cast = new WeightCast(DType.BF16);
    cast.forEachPiece(
        tensor,
        cast.targets(tensor).getFirst(),
        4,
        piece -> out.writeBytes(piece.toArray(ValueLayout.JAVA_BYTE)));
    assertThat(out.toByteArray()).containsExactly(0x80, 0x3f, 0, 0x40, 0x80, 0x3f, 0, 0x40);
  }

  @Test
  void whatWouldBecomeInfiniteIsRefused() throws IOException {
    assertThatThrownBy(() -> cast(DType.F16, 65520f))
        .isInstanceOf(CheckpointException.class)
        .hasMessage("tensor 'x': 65520.0 has no finite value in F16; use bf16 or fp32");
    assertThatThrownBy(() -> cast(DType.BF16, Float.MAX_VALUE))
        .isInstanceOf(CheckpointException.class);
    assertThat(cast(DType.F16, Float.POSITIVE_INFINITY)).containsExactly(0, 0x7c);
  }

  private static byte[] cast(DType to, float value) throws IOException {
    byte[] bytes = ByteBuffer.allocate(4).order(ByteOrder.LITTLE_ENDIAN).putFloat(value).array();
    HostTensor tensor =
        new HostTensor("x", DType.F32, Shape.of(1), List.of(MemorySegment.ofArray(bytes)));
    ByteArrayOutputStream out = new ByteArrayOutputStream();
    WeightCast cast = new WeightCast(to);
    cast.forEachPiece(
        tensor,
        cast.targets(tensor).getFirst(),
        1024,
        piece -> out.writeBytes(piece.toArray(ValueLayout.JAVA_BYTE)));
    return out.toByteArray();
  }
}
