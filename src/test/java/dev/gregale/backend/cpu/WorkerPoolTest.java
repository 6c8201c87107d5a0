package dev.gregale.backend.cpu;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertSame;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.util.Arrays;
import java.util.Set;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.CyclicBarrier;
import java.util.concurrent.atomic.AtomicIntegerArray;
import org.awaitility.Awaitility;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

@Timeout(30)
class WorkerPoolTest {

  @ParameterizedTest
  @ValueSource(ints = {1, 2, 3, 8})
  void runsEveryChunkOnce(int threads) {
    try (WorkerPool pool = new WorkerPool(threads)) {
      for (int numChunks : new int[] {0, 1, 2, 5, 1000}) {
        AtomicIntegerArray runs = new AtomicIntegerArray(numChunks);
        pool.run(
            (chunk, of, worker) -> {
              assertEquals(numChunks, of);
              assertTrue(worker >= 0 && worker < threads);
              runs.incrementAndGet(chunk);
            },
            numChunks);
        for (int chunk = 0; chunk < numChunks; chunk++) {
          assertEquals(1, runs.get(chunk));
        }
      }
    }
  }

  /** What one task wrote is seen by the next, whichever thread runs it, and by the caller. */
  @Test
  void manyTinyTasksInARow() {
    try (WorkerPool pool = new WorkerPool(3)) {
      int[] counts = new int[7];
      for (int round = 0; round < 50_000; round++) {
        int expected = round;
        pool.run(
            (chunk, numChunks, worker) -> {
              assertEquals(expected, counts[chunk]);
              counts[chunk]++;
            },
            7);
      }
      int[] all = new int[7];
      Arrays.fill(all, 50_000);
      assertArrayEquals(all, counts);
    }
  }

  @Test
  void wakesWorkersThatParked() throws Exception {
    try (WorkerPool pool = new WorkerPool(4)) {
      for (int round = 0; round < 5; round++) {
        Awaitility.await().until(WorkerPoolTest::allWorkersPark);
        // Passes only if four threads are in their chunks at the same time.
        CyclicBarrier together = new CyclicBarrier(4);
        Set<Integer> workers = ConcurrentHashMap.newKeySet();
        pool.run(
            (chunk, numChunks, worker) -> {
              workers.add(worker);
              try {
                together.await();
              } catch (Exception e) {
                throw new IllegalStateException(e);
              }
            },
            4);
        assertEquals(Set.of(0, 1, 2, 3), workers);
      }
    }
  }

  private static boolean allWorkersPark() {
    return Thread.getAllStackTraces().keySet().stream()
        .filter(thread -> thread.getName().startsWith("cpu-worker-"))
        .allMatch(thread -> thread.getState() == Thread.State.WAITING);
  }

  @ParameterizedTest
  @ValueSource(ints = {1, 3})
  void aFailureReachesTheCallerAndThePoolGoesOn(int threads) {
    try (WorkerPool pool = new WorkerPool(threads)) {
      for (Throwable thrown : new Throwable[] {new IllegalStateException("x"), new Error("y")}) {
        Throwable caught =
            assertThrows(
                thrown.getClass(),
                () ->
                    pool.run(
                        (chunk, numChunks, worker) -> {
                          if (chunk == 3) {
                            sneak(thrown);
                          }
                        },
                        20));
        assertSame(thrown, caught);
        int[] counts = new int[20];
        pool.run((chunk, numChunks, worker) -> counts[chunk]++, 20);
        assertEquals(20, Arrays.stream(counts).sum());
      }
    }
  }

  private static void sneak(Throwable thrown) {
    if (thrown instanceof Error error) {
      throw error;
    }
    throw (RuntimeException) thrown;
  }

  @Test
  void closeEndsTheThreads() {
    long before = workerThreads();
    WorkerPool pool = new WorkerPool(3);
    pool.run((chunk, numChunks, worker) -> {}, 10);
    pool.close();
    pool.close();
    assertEquals(before, workerThreads());
    assertThrows(IllegalStateException.class, () -> pool.run((c, n, w) -> {}, 2));
  }

  private static long workerThreads() {
    return Thread.getAllStackTraces().keySet().stream()
        .filter(thread -> thread.getName().startsWith("cpu-worker-"))
        .count();
  }

  @Test
  void refusesToRunWithinATask() {
    try (WorkerPool pool = new WorkerPool(1)) {
      assertThrows(
          IllegalStateException.class,
          () -> pool.run((chunk, numChunks, worker) -> pool.run((c, n, w) -> {}, 1), 1));
    }
  }

  @Test
  void needsAThread() {
    assertThrows(IllegalArgumentException.class, () -> new WorkerPool(0));
  }
}
