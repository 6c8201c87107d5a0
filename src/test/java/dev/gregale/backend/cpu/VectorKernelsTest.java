package dev.gregale.backend.cpu;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.gregale.backend.Device;
import dev.gregale.backend.ExpertRouting;
import dev.gregale.backend.ForwardBatch;
import dev.gregale.backend.Tensor;
import dev.gregale.backend.WeightRole;
import dev.gregale.tensor.DType;
import dev.gregale.tensor.HostTensor;
import dev.gregale.tensor.Shape;
import java.lang.foreign.MemorySegment;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;

/** What the contract test cannot see: stored precisions, and that bits depend on no batch mate. */
class VectorKernelsTest extends VectorFixture {
  /** Random weights of that type in slabs of odd lengths, as no checkpoint would cut them. */
  private HostTensor stored(DType dtype, Shape shape) {
    int count = Math.toIntExact(shape.numElements());
    byte[] bytes = new byte[count * dtype.bytes()];
    for (int i = 0; i < count; i++) {
      float value = (float) (0.1 * random.nextGaussian());
      int bits =
          switch (dtype) {
            case F32 -> Float.floatToRawIntBits(value);
            case BF16 -> Float.floatToRawIntBits(value) >>> 16;
            default -> Float.floatToFloat16(value);
          };
      for (int b = 0; b < dtype.bytes(); b++) {
        bytes[i * dtype.bytes() + b] = (byte) (bits >>> 8 * b);
      }
    }
    MemorySegment all = MemorySegment.ofArray(bytes);
    long cut = count / 3L * dtype.bytes();
    long end = (count / 3L + Math.min(1, count - 1)) * dtype.bytes();
    return new HostTensor(
        "test",
        dtype,
        shape,
        List.of(all.asSlice(0, cut), all.asSlice(cut, end - cut), all.asSlice(end)));
  }

  @ParameterizedTest
  @EnumSource(names = {"F32", "F16", "BF16"})
  void weightsOfEveryStoredType(DType dtype) {
    Device oracle = CpuBackend.reference();
    Device backend = vector(2);
    for (int[] shape : new int[][] {{1, 1}, {3, 70}, {65, 33}, {200, 191}}) {
      HostTensor source = stored(dtype, Shape.of(shape[0], shape[1]));
      for (int rows : new int[] {1, 2, 3, 4, 9}) {
        float[] x = gaussians(rows * shape[1], 1);
        List<float[]> results = new ArrayList<>();
        for (Device side : List.of(oracle, backend)) {
          Tensor out = side.allocate(DType.F32, Shape.of(rows, shape[0]));
          Tensor weight = side.upload(WeightRole.LINEAR, source);
          Tensor in = floats(side, Shape.of(rows, shape[1]), x);
          side.kernels().matmul(out, in, weight, rows);
          results.add(read(side, out));
        }
        assertClose(results.get(0), results.get(1), 1e-5);
      }
    }
  }

  @ParameterizedTest
  @EnumSource(names = {"F32", "F16", "BF16"})
  void embeddingsOfEveryStoredType(DType dtype) {
    HostTensor source = stored(dtype, Shape.of(9, 21));
    List<float[]> results = new ArrayList<>();
    for (Device side : List.of(CpuBackend.reference(), vector(1))) {
      Tensor out = side.allocate(DType.F32, Shape.of(3, 21));
      Tensor none = ints(side, Shape.of(3), 0, 0, 0);
      Tensor ids = ints(side, Shape.of(3), 8, 0, 4);
      ForwardBatch batch = new ForwardBatch(ids, none, none, none, none, none, none);
      batch.resize(3, 1, 0);
      side.kernels().embed(out, side.upload(WeightRole.EMBEDDING, source), batch);
      results.add(read(side, out));
    }
    assertArrayEquals(results.get(0), results.get(1));
  }

  /** Many rows on four threads, in slabs, against each row alone on one thread. */
  @ParameterizedTest
  @EnumSource(names = {"F32", "BF16"})
  void aRowOfAProductHasTheSameBitsInAnyBatch(DType dtype) {
    int rows = 301;
    int inputs = 700; // several slabs
    HostTensor source = stored(dtype, Shape.of(150, inputs));
    float[] x = gaussians(rows * inputs, 1);
    Device many = vector(4);
    Tensor together = many.allocate(DType.F32, Shape.of(rows, 150));
    many.kernels()
        .matmul(
            together,
            floats(many, Shape.of(rows, inputs), x),
            many.upload(WeightRole.LINEAR, source),
            rows);
    Device one = vector(1);
    Tensor weight = one.upload(WeightRole.LINEAR, source);
    Tensor alone = one.allocate(DType.F32, Shape.of(1, 150));
    float[] expected = read(many, together);
    for (int row = 0; row < rows; row += 7) {
      float[] in = Arrays.copyOfRange(x, row * inputs, (row + 1) * inputs);
      one.kernels().matmul(alone, floats(one, Shape.of(1, inputs), in), weight, 1);
      assertArrayEquals(Arrays.copyOfRange(expected, row * 150, row * 150 + 150), read(one, alone));
    }
  }

  @Test
  void aTokenOfTheExpertsHasTheSameBitsInAnyBatch() {
    int rows = 1100; // more than one pass
    int hidden = 40;
    int intermediate = 50;
    HostTensor gateUp = stored(DType.BF16, Shape.of(6, 2 * intermediate, hidden));
    HostTensor down = stored(DType.BF16, Shape.of(6, hidden, intermediate));
    float[] x = gaussians(rows * hidden, 1);
    int[] ids = random.ints(rows * 2, 0, 6).toArray();
    float[] weights = gaussians(rows * 2, 1);
    Device many = vector(3);
    float[] expected = feedForward(many, gateUp, down, x, ids, weights, rows, hidden);
    Device one = vector(1);
    for (int t = 0; t < rows; t += 99) {
      float[] alone =
          feedForward(
              one,
              gateUp,
              down,
              Arrays.copyOfRange(x, t * hidden, (t + 1) * hidden),
              Arrays.copyOfRange(ids, t * 2, t * 2 + 2),
              Arrays.copyOfRange(weights, t * 2, t * 2 + 2),
              1,
              hidden);
      assertArrayEquals(Arrays.copyOfRange(expected, t * hidden, (t + 1) * hidden), alone);
    }
  }

  private static float[] feedForward(
      Device backend,
      HostTensor gateUp,
      HostTensor down,
      float[] x,
      int[] ids,
      float[] weights,
      int rows,
      int hidden) {
    Tensor inOut = floats(backend, Shape.of(rows, hidden), x);
    ExpertRouting routing =
        new ExpertRouting(
            ints(backend, Shape.of(rows, 2), ids), floats(backend, Shape.of(rows, 2), weights));
    backend
        .kernels()
        .expertFeedForward(
            inOut,
            inOut,
            routing,
            backend.upload(WeightRole.EXPERTS_GATE_UP, gateUp),
            backend.upload(WeightRole.EXPERTS_DOWN, down),
            rows);
    return read(backend, inOut);
  }

  @ParameterizedTest
  @EnumSource(names = {"F32", "BF16"})
  void dummyWeightsHaveTheirSpread(DType dtype) {
    Device backend = vector(2);
    // An identity matrix times the weight reads the weight.
    int n = 300;
    Tensor weight = backend.dummy(WeightRole.LINEAR, dtype, Shape.of(n, n), 5);
    float[] identity = new float[n * n];
    for (int i = 0; i < n; i++) {
      identity[i * n + i] = 1;
    }
    Tensor out = backend.allocate(DType.F32, Shape.of(n, n));
    backend.kernels().matmul(out, floats(backend, Shape.of(n, n), identity), weight, n);
    double sum = 0;
    double squares = 0;
    for (float value : read(backend, out)) {
      sum += value;
      squares += value * value;
    }
    assertEquals(0, sum / n / n, 3e-4);
    assertEquals(0.019, Math.sqrt(squares / n / n), 1e-3);
  }

  @Test
  void reportsFreeMemory() {
    assertTrue(vector(1).freeBytes() > 0);
  }

  @Test
  void afterCloseNothingRuns() {
    Device backend = vector(2);
    Tensor weight = backend.dummy(WeightRole.LINEAR, DType.BF16, Shape.of(2048, 2048), 1);
    backend.close();
    backend.close();
    Tensor row = backend.allocate(DType.F32, Shape.of(1, 2048));
    assertThrows(IllegalStateException.class, () -> backend.kernels().matmul(row, row, weight, 1));
  }
}
