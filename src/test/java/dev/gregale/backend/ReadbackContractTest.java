package dev.gregale.backend;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;

import dev.gregale.backend.cpu.CpuBackends;
import dev.gregale.tensor.DType;
import dev.gregale.tensor.Shape;
import java.util.List;
import java.util.SplittableRandom;
import java.util.stream.Stream;
import org.junit.jupiter.api.TestInstance;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;

/** How arrays come back, on every available backend. */
@TestInstance(TestInstance.Lifecycle.PER_CLASS)
class ReadbackContractTest {

  Stream<Device> backends() {
    return CpuBackends.candidates().stream();
  }

  /** A copy on its way is not changed by what is issued behind it. */
  @ParameterizedTest
  @MethodSource("backends")
  void readback(Device candidate) {
    Tensor ints = candidate.allocate(DType.I32, Shape.of(300));
    Tensor floats = candidate.allocate(DType.F32, Shape.of(20, 15));
    Readback first = candidate.readback(ints);
    Readback second = candidate.readback(ints);
    Readback third = candidate.readback(floats);
    for (int round = 0; round < 3; round++) {
      int[] values = new SplittableRandom(round).ints(300).toArray();
      float[] halves = new float[300];
      for (int i = 0; i < 300; i++) {
        halves[i] = values[i] / 2f;
      }
      candidate.write(ints, values, 300);
      candidate.write(floats, halves, 300);
      first.start(300);
      third.start(300);
      candidate.write(ints, new int[] {1, 2, 3}, 3);
      second.start(2);
      candidate.write(ints, new int[300], 300);
      candidate.write(floats, new float[300], 300);
      int[] found = new int[300];
      first.finish(found);
      assertArrayEquals(values, found);
      float[] foundHalves = new float[300];
      third.finish(foundHalves);
      assertArrayEquals(halves, foundHalves);
      second.finish(found);
      assertEquals(1, found[0]);
      assertEquals(2, found[1]);
      assertEquals(values[2], found[2]);
    }
  }

  /** Arrays that were allocated together are fetched together, packed. */
  @ParameterizedTest
  @MethodSource("backends")
  void readbackOfSeveral(Device candidate) {
    int count = 5;
    int length = 33;
    List<Tensor> arrays = candidate.allocateTogether(DType.I32, Shape.of(11, 3), count);
    Readback readback = candidate.readback(arrays);
    for (int fetched : new int[] {length, 7}) {
      int[] expected = new int[count * fetched];
      for (int i = 0; i < count; i++) {
        int[] values = new SplittableRandom(i).ints(length).toArray();
        candidate.write(arrays.get(i), values, length);
        System.arraycopy(values, 0, expected, i * fetched, fetched);
      }
      readback.start(fetched);
      candidate.write(arrays.getLast(), new int[length], length);
      int[] found = new int[count * fetched];
      readback.finish(found);
      assertArrayEquals(expected, found);
    }
  }
}
