package dev.gregale.backend.cuda;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assumptions.abort;

import dev.gregale.backend.Step;
import dev.gregale.backend.Tensor;
import dev.gregale.tensor.DType;
import dev.gregale.tensor.Shape;
import java.lang.foreign.Arena;
import java.lang.foreign.SymbolLookup;
import java.time.Duration;
import java.util.Arrays;
import java.util.List;
import java.util.SplittableRandom;
import java.util.stream.IntStream;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/**
 * NCCL's own code by a communicator of one rank, since it refuses two on one GPU: the library's
 * names and arguments, its place in a step and in a recorded one, its errors and its end.
 */
@Tag("gpu")
class CudaNcclTest {
  private static final Shape SHAPE = Shape.of(300, 4096);
  private static final int COUNT = (int) SHAPE.numElements();

  private static Nccl open() {
    try (Arena arena = Arena.ofConfined()) {
      SymbolLookup.libraryLookup(Nccl.LIBRARY, arena);
    } catch (IllegalArgumentException e) {
      abort(Nccl.LIBRARY + " is not on this machine");
    }
    return Nccl.open(Nccl.LIBRARY, List.of(0));
  }

  /** One rank's sum is its part, and nothing beyond the elements is touched. */
  @ParameterizedTest
  @ValueSource(booleans = {false, true})
  void aSumGoesWhereItIsTold(boolean isRecorded) {
    SplittableRandom random = new SplittableRandom(1);
    try (Nccl nccl = open();
        CudaBackend backend = CudaBackend.open(0, false)) {
      Tensor part = backend.allocate(DType.F32, SHAPE);
      Tensor sum = backend.allocate(DType.F32, SHAPE);
      int count = COUNT - 5;
      Runnable work =
          () ->
              nccl.allReduce(
                  new long[] {CudaTensor.of(part).address()},
                  new long[] {CudaTensor.of(sum).address()},
                  count,
                  new long[] {backend.asRank().context().streamHandle()});
      Step step = isRecorded ? backend.record(work) : work::run;
      float[] poison = new float[COUNT];
      Arrays.fill(poison, Float.NaN);
      for (int i = 0; i < 3; i++) {
        float[] values = gaussians(random);
        backend.write(part, values, COUNT);
        backend.write(sum, poison, COUNT);
        step.run();
        Arrays.fill(values, count, COUNT, Float.NaN);
        assertArrayEquals(values, read(backend, sum));
        nccl.requireHealthy();
      }
    }
  }

  /** As ranks that do not reach each other's memory add up. */
  @ParameterizedTest
  @ValueSource(booleans = {false, true})
  void partsAreAddedUp(boolean isRecorded) {
    SplittableRandom random = new SplittableRandom(2);
    Nccl nccl = open();
    CudaBackend backend = CudaBackend.open(0, false);
    try (CudaCollective collective =
            new CudaCollective(List.of(backend), false, nccl, Duration.ofSeconds(5));
        backend) { // closed before the collective
      Tensor residual = backend.allocate(DType.F32, SHAPE);
      Tensor part = collective.allocateParts(SHAPE).getFirst();
      Runnable work = () -> collective.addUp(List.of(residual), SHAPE.intDim(0));
      Step step = isRecorded ? backend.record(work) : work::run;
      for (int i = 0; i < 3; i++) {
        float[] before = gaussians(random);
        float[] added = gaussians(random);
        backend.write(residual, before, COUNT);
        backend.write(part, added, COUNT);
        step.run();
        for (int at = 0; at < COUNT; at++) {
          before[at] += added[at];
        }
        assertArrayEquals(before, read(backend, residual));
        assertArrayEquals(new float[COUNT], read(backend, part));
        collective.requireHealthy();
      }
    }
  }

  private static float[] gaussians(SplittableRandom random) {
    float[] values = new float[COUNT];
    IntStream.range(0, COUNT).forEach(i -> values[i] = (float) random.nextGaussian());
    return values;
  }

  private static float[] read(CudaBackend backend, Tensor tensor) {
    float[] values = new float[COUNT];
    backend.read(tensor, values, COUNT);
    return values;
  }
}
