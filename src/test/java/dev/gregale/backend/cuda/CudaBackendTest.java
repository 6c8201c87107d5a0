package dev.gregale.backend.cuda;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.gregale.backend.AttentionShape;
import dev.gregale.backend.Device;
import dev.gregale.backend.ForwardBatch;
import dev.gregale.backend.KvLayer;
import dev.gregale.backend.Step;
import dev.gregale.backend.Tensor;
import dev.gregale.backend.WeightRole;
import dev.gregale.tensor.DType;
import dev.gregale.tensor.HostTensor;
import dev.gregale.tensor.Shape;
import java.lang.foreign.MemorySegment;
import java.util.Arrays;
import java.util.List;
import java.util.Objects;
import java.util.SplittableRandom;
import java.util.stream.IntStream;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;

/** Memory, copies, conversions, recording: what the contract of the ops does not show. */
@Tag("gpu")
class CudaBackendTest {
  private final Device backend = CudaBackends.fastest();
  private final SplittableRandom random = new SplittableRandom(1);

  @AfterEach
  void close() {
    backend.close();
  }

  private float[] gaussians(int count) {
    float[] values = new float[count];
    for (int i = 0; i < count; i++) {
      values[i] = (float) random.nextGaussian();
    }
    return values;
  }

  private static float toNearestBf16(float value) {
    return Float.intBitsToFloat(BatchArrays.toBf16(value) << 16);
  }

  /** More than the page-locked buffers hold, so that they are used again. */
  @Test
  void largeArraysComeBackAsTheyWere() {
    int[] ints = random.ints(9 * PinnedRing.BUFFER_BYTES / 4 + 3).toArray();
    Tensor tensor = backend.allocate(DType.I32, Shape.of(ints.length));
    backend.write(tensor, ints, ints.length);
    int[] found = new int[ints.length];
    backend.read(tensor, found, found.length);
    assertArrayEquals(ints, found);
  }

  @Test
  void manySmallWritesKeepTheirOrder() {
    Tensor tensor = backend.allocate(DType.I32, Shape.of(1));
    for (int i = 0; i < 50_000; i++) {
      backend.write(tensor, new int[] {i}, 1);
    }
    int[] found = new int[1];
    backend.read(tensor, found, 1);
    assertEquals(49_999, found[0]);
  }

  /** More arrays, and more bytes, than one launch carries; the later of two writes wins. */
  @Test
  void manyArraysAreWrittenTogether() {
    Tensor[] tensors = new Tensor[300];
    for (int i = 0; i < tensors.length; i++) {
      tensors[i] = backend.allocate(i % 2 == 0 ? DType.I32 : DType.I64, Shape.of(1 + 50 * i));
    }
    for (int round = 0; round < 40; round++) {
      for (int i = 0; i < tensors.length; i++) {
        int[] ints = new int[1 + 50 * i];
        Arrays.fill(ints, 1000 * round + i);
        if (i % 2 == 0) {
          backend.write(tensors[i], ints, ints.length);
        } else {
          backend.write(tensors[i], Arrays.stream(ints).asLongStream().toArray(), ints.length);
        }
      }
    }
    for (int i = 0; i < tensors.length; i += 2) {
      int[] found = new int[1 + 50 * i];
      backend.read(tensors[i], found, found.length);
      for (int value : found) {
        assertEquals(39_000 + i, value);
      }
    }
  }

  @Test
  void allocatedArraysAreZero() {
    float[] found = gaussians(1000);
    backend.read(backend.allocate(DType.F32, Shape.of(1000)), found, found.length);
    assertArrayEquals(new float[1000], found);
  }

  /** From every precision of a checkpoint, in two slabs, to bf16 or fp32, rounding to nearest. */
  @Test
  void weightsAreConverted() {
    float[] values = gaussians(5_000_001);
    short[] halves = new short[values.length];
    for (int i = 0; i < values.length; i++) {
      halves[i] = Float.floatToFloat16(values[i]);
    }
    float[] found = new float[values.length];
    Shape shape = Shape.of(values.length);
    HostTensor f32 = new HostTensor("f32", DType.F32, shape, slabs(MemorySegment.ofArray(values)));
    backend.read(backend.upload(WeightRole.EMBEDDING, f32), found, found.length);
    for (int i = 0; i < found.length; i++) {
      assertEquals(toNearestBf16(values[i]), found[i]);
    }
    backend.read(backend.upload(WeightRole.NORM, f32), found, found.length);
    assertArrayEquals(values, found);
    HostTensor f16 = new HostTensor("f16", DType.F16, shape, slabs(MemorySegment.ofArray(halves)));
    backend.read(backend.upload(WeightRole.EMBEDDING, f16), found, found.length);
    for (int i = 0; i < found.length; i++) {
      assertEquals(toNearestBf16(Float.float16ToFloat(halves[i])), found[i]);
    }
    short[] bf16 = new short[values.length];
    for (int i = 0; i < values.length; i++) {
      bf16[i] = BatchArrays.toBf16(values[i]);
    }
    HostTensor stored = new HostTensor("b", DType.BF16, shape, slabs(MemorySegment.ofArray(bf16)));
    for (WeightRole role : List.of(WeightRole.EMBEDDING, WeightRole.NORM)) {
      backend.read(backend.upload(role, stored), found, found.length);
      for (int i = 0; i < found.length; i++) {
        assertEquals(toNearestBf16(values[i]), found[i]);
      }
    }
  }

  private static List<MemorySegment> slabs(MemorySegment all) {
    return List.of(all.asSlice(0, 4 * 999), all.asSlice(4 * 999));
  }

  @Test
  void dummyWeightsAreRandom() {
    int count = 1_000_003;
    Shape shape = Shape.of(1, count);
    Tensor weight = backend.dummy(WeightRole.EMBEDDING, DType.BF16, shape, 7);
    float[] found = new float[count];
    backend.read(weight, found, count);
    double sum = 0;
    double squares = 0;
    for (float value : found) {
      sum += value;
      squares += value * value;
    }
    assertEquals(0, sum / count, 1e-4);
    assertEquals(0.02, Math.sqrt(squares / count), 1e-4);
    assertTrue(found[count - 1] != 0);
    float[] again = new float[count];
    backend.read(backend.dummy(WeightRole.EMBEDDING, DType.BF16, shape, 8), again, count);
    assertTrue(!Arrays.equals(found, again));
  }

  /** What is planned with is what is allocated, widened blocks of an FP8 cache included. */
  @Test
  void kvCacheTakesWhatIsPlanned() {
    AttentionShape shape = new AttentionShape(8, 2, 128, 0);
    for (DType dtype : backend.kvCacheDTypes()) {
      long before = allocatedBytes();
      for (int layer = 0; layer < 3; layer++) {
        backend.allocateKv(7, 64, shape, dtype);
      }
      long planned =
          3 * backend.kvBlockBytes(64, shape, dtype) + backend.kvSharedBlockBytes(64, shape, dtype);
      assertEquals(7 * planned, allocatedBytes() - before, dtype.toString());
    }
  }

  private long allocatedBytes() {
    return Objects.requireNonNull(backend.deviceMemory()).allocatedBytes();
  }

  @Test
  void tooLargeAnArrayIsOneLineWithTheArithmetic() {
    String message =
        String.valueOf(
            assertThrows(
                    CudaUnavailableException.class,
                    () -> backend.allocate(DType.F32, Shape.of(1L << 40)))
                .getMessage());
    assertEquals(1, message.lines().count());
    assertTrue(message.contains("4096.0 GiB") && message.contains("are free"), message);
  }

  /** A recorded product reads the arrays as they are when it is replayed. */
  @Test
  void recordedWorkIsReplayed() {
    Tensor weight =
        backend.upload(WeightRole.LINEAR, HostTensor.of("w", Shape.of(96, 64), gaussians(96 * 64)));
    Tensor x = backend.allocate(DType.BF16, Shape.of(3, 64));
    Tensor direct = backend.allocate(DType.F32, Shape.of(3, 96));
    Tensor replayed = backend.allocate(DType.F32, Shape.of(3, 96));
    Step step = backend.record(() -> backend.kernels().matmul(replayed, x, weight, 3));
    for (int i = 0; i < 3; i++) {
      backend.write(x, gaussians(3 * 64), 3 * 64);
      backend.kernels().matmul(direct, x, weight, 3);
      step.run();
      float[] expected = new float[3 * 96];
      float[] found = new float[3 * 96];
      backend.read(direct, expected, expected.length);
      backend.read(replayed, found, found.length);
      assertArrayEquals(expected, found);
      assertTrue(expected[0] != 0);
    }
  }

  /** Rows beside the batch write no cache and get zeros; the batch's own are as without them. */
  @Test
  void paddingRowsAreHarmless() {
    AttentionShape shape = new AttentionShape(4, 2, 32, 0);
    int width = shape.qkvWidth();
    float[] qkv = gaussians(4 * width);
    float[] angles = gaussians(8 * 32);
    Tensor rope =
        backend.upload(WeightRole.ROPE_TABLE, HostTensor.of("rope", Shape.of(8, 32), angles));
    float[] alone = new float[4 * 128];
    float[] padded = new float[4 * 128];
    int[] slots = {5, 18, -1, -1};
    attend(shape, rope, qkv, slots, 2, alone);
    KvLayer kv = attend(shape, rope, qkv, slots, 4, padded);
    assertArrayEquals(Arrays.copyOf(alone, 2 * 128), Arrays.copyOf(padded, 2 * 128));
    assertArrayEquals(new float[2 * 128], Arrays.copyOfRange(padded, 2 * 128, 4 * 128));
    float[] keys = new float[3 * 2 * 8 * 64]; // heads of 32 are padded to 64 (kv_layout.cuh)
    DevicePointer pointer = ((CudaKvLayer) kv).keys();
    backend.read(
        new CudaTensor(DType.BF16, Shape.of(keys.length), WeightLayout.ROW_MAJOR, pointer),
        keys,
        keys.length);
    for (int slot = 0; slot < 24; slot++) {
      for (int head = 0; head < 2; head++) {
        int at = ((slot / 8 * 2 + head) * 8 + slot % 8) * 64;
        boolean written = IntStream.range(at, at + 64).anyMatch(i -> keys[i] != 0);
        assertEquals(slot == 5 || slot == 18, written, "slot " + slot);
      }
    }
  }

  private KvLayer attend(
      AttentionShape shape, Tensor rope, float[] values, int[] slots, int rows, float[] result) {
    KvLayer kv = backend.allocateKv(3, 8, shape, DType.BF16);
    Tensor qkv = backend.allocate(DType.BF16, Shape.of(4, shape.qkvWidth()));
    Tensor out = backend.allocate(DType.BF16, Shape.of(4, 128));
    float[] poison = new float[4 * 128];
    Arrays.fill(poison, Float.NaN);
    backend.write(out, poison, poison.length);
    backend.write(qkv, values, values.length);
    ForwardBatch batch =
        new ForwardBatch(
            ints(0, 0, 0, 0),
            ints(5, 2, 0, 0),
            ints(slots),
            ints(0, 1, 2, 3, 4),
            ints(6, 3, 0, 0),
            table(new int[] {0, 0, 2, 0, 0, 0, 0, 0}),
            ints(0));
    batch.resize(rows, rows, 0);
    backend.kernels().ropeAndCacheKv(qkv, kv, rope, shape, batch);
    backend.kernels().pagedAttention(out, qkv, kv, shape, batch);
    backend.read(out, result, rows * 128);
    return kv;
  }

  private Tensor ints(int... values) {
    Tensor tensor = backend.allocate(DType.I32, Shape.of(values.length));
    backend.write(tensor, values, values.length);
    return tensor;
  }

  private Tensor table(int[] values) {
    Tensor tensor = backend.allocate(DType.I32, Shape.of(4, values.length / 4));
    backend.write(tensor, values, values.length);
    return tensor;
  }
}
