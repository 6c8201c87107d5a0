package dev.gregale.backend.cuda;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.gregale.backend.Step;
import dev.gregale.backend.Tensor;
import dev.gregale.backend.Timeline;
import dev.gregale.tensor.DType;
import dev.gregale.tensor.Shape;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.SplittableRandom;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/** Sums over ranks, which are all on one GPU where there are not enough. */
@Tag("gpu")
class CudaCollectiveTest {
  private static final int HIDDEN = 2048; // 8 KB a row
  private static final int MAX_ROWS = 600; // the longest take two messages

  /** Ranks with their residuals and parts. */
  private static final class Fixture implements AutoCloseable {
    final CudaRanks ranks;
    final List<Tensor> residuals = new ArrayList<>();
    final List<Tensor> parts;

    Fixture(int size, Duration timeout) {
      this(size, timeout, Duration.ofSeconds(60));
    }

    Fixture(int size, Duration timeout, Duration hostTimeout) {
      ranks = CudaRanks.open(CudaBackends.devices(size), false, null, timeout, hostTimeout);
      Shape shape = Shape.of(MAX_ROWS, HIDDEN);
      ranks.backends().forEach(rank -> residuals.add(rank.allocate(DType.F32, shape)));
      parts = ranks.collective().allocateParts(shape);
    }

    void write(Tensor tensor, int rank, float[] values) {
      ranks.backends().get(rank).write(tensor, values, values.length);
    }

    float[] read(Tensor tensor, int rank, int count) {
      float[] values = new float[count];
      ranks.backends().get(rank).read(tensor, values, count);
      return values;
    }

    /** One recording for each rank of the same work. */
    Step record(Runnable work) {
      List<Step> steps = new ArrayList<>();
      record(0, work, steps);
      return () -> steps.forEach(Step::run);
    }

    private void record(int rank, Runnable work, List<Step> steps) {
      if (rank == residuals.size()) {
        work.run();
      } else {
        steps.addFirst(ranks.backends().get(rank).record(() -> record(rank + 1, work, steps)));
      }
    }

    @Override
    public void close() {
      ranks.backends().forEach(CudaBackend::close);
    }
  }

  private static float[] gaussians(SplittableRandom random, int count) {
    float[] values = new float[count];
    for (int i = 0; i < count; i++) {
      values[i] = (float) random.nextGaussian();
    }
    return values;
  }

  /** Bit for bit in the order of the ranks, at any length, again and again, recorded or not. */
  @ParameterizedTest
  @ValueSource(ints = {2, 3, 4})
  void partsAreAddedUp(int size) {
    SplittableRandom random = new SplittableRandom(size);
    try (Fixture f = new Fixture(size, Duration.ofSeconds(5))) {
      for (int rows : new int[] {1, 2, 7, 128, 1, 129, MAX_ROWS, 3, 40, MAX_ROWS, 1}) {
        Step step = f.record(() -> f.ranks.collective().addUp(f.residuals, rows));
        for (int i = 0; i < 4; i++) {
          check(f, random, rows, i % 2 == 0 ? step : null);
        }
      }
      f.ranks.collective().requireHealthy();
    }
  }

  private static void check(
      Fixture f, SplittableRandom random, int rows, @org.jspecify.annotations.Nullable Step step) {
    int count = rows * HIDDEN;
    int size = f.residuals.size();
    float[] residual = gaussians(random, count);
    float[] sum = new float[count];
    for (int rank = 0; rank < size; rank++) {
      float[] part = gaussians(random, count);
      f.write(f.residuals.get(rank), rank, residual);
      f.write(f.parts.get(rank), rank, part);
      for (int i = 0; i < count; i++) {
        sum[i] = rank == 0 ? part[i] : sum[i] + part[i];
      }
    }
    if (step != null) {
      step.run();
    } else {
      f.ranks.collective().addUp(f.residuals, rows);
    }
    for (int i = 0; i < count; i++) {
      residual[i] += sum[i];
    }
    for (int rank = 0; rank < size; rank++) {
      assertArrayEquals(residual, f.read(f.residuals.get(rank), rank, count));
      assertArrayEquals(new float[count], f.read(f.parts.get(rank), rank, count));
    }
  }

  /** A rank that never comes costs the deadline, once, and no hang. */
  @ParameterizedTest
  @ValueSource(booleans = {true, false})
  void whoWaitsInVainGivesUp(boolean isShort) {
    Duration timeout = Duration.ofMillis(200);
    try (Fixture f = new Fixture(2, timeout)) {
      CudaCollective collective = (CudaCollective) f.ranks.collective();
      collective.requireHealthy();
      CudaTensor residual = CudaTensor.of(f.residuals.getFirst());
      long start = System.nanoTime();
      for (int i = 0; i < 100; i++) {
        collective.launch(0, residual, HIDDEN / 4, isShort);
      }
      CudaContext context = f.ranks.backends().getFirst().asRank().context();
      context.enter();
      context.synchronize();
      double millis = (System.nanoTime() - start) / 1e6;
      assertTrue(millis >= timeout.toMillis(), "gave up after " + millis + " ms");
      assertTrue(millis < 10 * timeout.toMillis(), "took " + millis + " ms");
      RankFailureException e = assertThrows(RankFailureException.class, collective::requireHealthy);
      assertTrue(String.valueOf(e.getMessage()).startsWith("rank 1, on "), e.getMessage());
      assertTrue(e.isSticky());
    }
  }

  /** The host waits no longer than it may, for no rank, and leaves such ranks as they are. */
  @Test
  void theHostGivesUp() {
    Duration timeout = Duration.ofSeconds(1);
    Fixture f = new Fixture(2, timeout, Duration.ofMillis(100));
    CudaCollective collective = (CudaCollective) f.ranks.collective();
    collective.launch(0, CudaTensor.of(f.residuals.getFirst()), HIDDEN / 4, true);
    long start = System.nanoTime();
    assertThrows(RankFailureException.class, () -> f.read(f.residuals.getFirst(), 0, HIDDEN));
    f.close();
    double millis = (System.nanoTime() - start) / 1e6;
    assertTrue(millis < timeout.toMillis() / 2, "took " + millis + " ms");
    assertTrue(f.ranks.backends().getLast().asRank().context().isLost());
  }

  /** For docs/benchmarks.md. */
  @Test
  void timeOfASum() {
    int repeats = 64;
    try (Fixture f = new Fixture(2, Duration.ofSeconds(5))) {
      Timeline timeline = f.ranks.backends().getFirst().timeline();
      for (int rows : new int[] {1, 2, 8, 64, 128, 129, 256, MAX_ROWS}) {
        Step step =
            f.record(
                () -> {
                  for (int i = 0; i < repeats; i++) {
                    f.ranks.collective().addUp(f.residuals, rows);
                  }
                });
        double[] micros = new double[20];
        for (int i = 0; i < micros.length; i++) {
          int from = timeline.mark();
          step.run();
          int to = timeline.mark();
          micros[i] = 1e3 * timeline.millis(from, to) / repeats;
        }
        Arrays.sort(micros);
        System.out.printf(
            "sum of %d KB on GPUs %s: %.2f us, least %.2f%n",
            rows * HIDDEN * 4 / 1024,
            CudaBackends.devices(2),
            micros[micros.length / 2],
            micros[0]);
      }
      f.ranks.collective().requireHealthy();
      assertFalse(f.ranks.collective().sharesMemory());
      assertEquals(2, f.residuals.size());
    }
  }
}
