package dev.gregale.backend.cpu;

import java.util.concurrent.atomic.AtomicInteger;
import java.util.concurrent.atomic.AtomicLong;
import java.util.concurrent.atomic.AtomicReference;
import java.util.concurrent.locks.LockSupport;
import org.jspecify.annotations.Nullable;

/**
 * Threads that share the chunks of one task at a time; the caller takes part. Chunks are handed out
 * as threads get free, so that a thread that the machine slows down delays nobody: a task's result
 * must not depend on who runs which chunk. Idle threads spin briefly and then park, because ops of
 * a small model follow each other within microseconds. Nothing is allocated per task.
 */
final class WorkerPool implements AutoCloseable {
  private static final long SPIN_NANOS = 50_000;
  private static final int SPINS_PER_CLOCK = 32;

  /** Work that is cut into chunks. */
  @FunctionalInterface
  interface Task {
    /**
     * @param chunk 0 to {@code numChunks} - 1
     * @param worker 0 to {@code threads} - 1, for scratch that is no other thread's
     */
    void run(int chunk, int numChunks, int worker);
  }

  private final Worker[] workers;

  /** Chunks in the high half, the next one to hand out in the low half. */
  private final AtomicLong claims = new AtomicLong();

  private final AtomicInteger unfinished = new AtomicInteger();
  private final AtomicReference<@Nullable Throwable> failure = new AtomicReference<>();
  private @Nullable Task task;
  private volatile @Nullable Thread waitingCaller;
  private volatile boolean closed;
  private boolean running;

  /**
   * @param threads the caller's included, at least 1
   */
  WorkerPool(int threads) {
    if (threads < 1) {
      throw new IllegalArgumentException("a worker pool needs 1 thread or more, not " + threads);
    }
    workers = new Worker[threads - 1];
    for (int i = 0; i < workers.length; i++) {
      workers[i] = new Worker(i + 1);
      workers[i].start();
    }
  }

  /** Threads that take part, the caller's included. */
  int threads() {
    return workers.length + 1;
  }

  /**
   * Runs all chunks and returns when the last one is done. One caller at a time, and not from
   * within a task.
   *
   * @throws RuntimeException or an Error: the first that a chunk threw, once the others are done
   */
  void run(Task task, int numChunks) {
    if (closed || running) {
      throw new IllegalStateException(
          closed ? "the worker pool is closed" : "the worker pool already runs a task");
    }
    running = true;
    try {
      if (numChunks == 1 || workers.length == 0) {
        for (int chunk = 0; chunk < numChunks; chunk++) {
          task.run(chunk, numChunks, 0);
        }
      } else if (numChunks > 1) {
        share(task, numChunks);
      }
    } finally {
      running = false;
    }
  }

  private void share(Task task, int numChunks) {
    this.task = task;
    failure.setPlain(null);
    unfinished.setPlain(numChunks);
    claims.set((long) numChunks << 32);
    for (Worker worker : workers) {
      worker.wake();
    }
    while (runNextChunk(0)) {}
    awaitOthers();
    this.task = null;
    Throwable thrown = failure.getPlain();
    if (thrown instanceof Error error) {
      throw error;
    }
    if (thrown != null) {
      throw (RuntimeException) thrown; // a Task throws nothing checked
    }
  }

  /**
   * A claimed chunk keeps its task from ending, so the fields read after the claim are that task's,
   * however late this thread looked.
   */
  private boolean runNextChunk(int worker) {
    long claim = claims.get();
    while (hasChunk(claim)) {
      if (claims.compareAndSet(claim, claim + 1)) {
        runChunk((int) claim, (int) (claim >>> 32), worker);
        return true;
      }
      claim = claims.get();
    }
    return false;
  }

  private static boolean hasChunk(long claim) {
    return (int) claim < (int) (claim >>> 32);
  }

  private void runChunk(int chunk, int numChunks, int worker) {
    try {
      Task current = task;
      if (current == null) {
        throw new IllegalStateException("a chunk was handed out without a task");
      }
      current.run(chunk, numChunks, worker);
    } catch (Throwable thrown) {
      failure.compareAndSet(null, thrown);
    } finally {
      if (unfinished.decrementAndGet() == 0) {
        Thread caller = waitingCaller;
        if (caller != null) {
          LockSupport.unpark(caller);
        }
      }
    }
  }

  private void awaitOthers() {
    long start = System.nanoTime();
    while (unfinished.get() > 0) {
      for (int i = 0; i < SPINS_PER_CLOCK && unfinished.get() > 0; i++) {
        Thread.onSpinWait();
      }
      if (System.nanoTime() - start > SPIN_NANOS) {
        waitingCaller = Thread.currentThread();
        while (unfinished.get() > 0) {
          LockSupport.park(this);
        }
        waitingCaller = null;
      }
    }
  }

  /** Ends the threads and waits for them. Closing twice does nothing. */
  @Override
  public void close() {
    closed = true;
    for (Worker worker : workers) {
      LockSupport.unpark(worker);
    }
    boolean interrupted = false;
    for (Worker worker : workers) {
      while (worker.isAlive()) {
        try {
          worker.join();
        } catch (InterruptedException e) {
          interrupted = true;
        }
      }
    }
    if (interrupted) {
      Thread.currentThread().interrupt();
    }
  }

  private final class Worker extends Thread {
    private final int index;
    private volatile boolean parked;

    Worker(int index) {
      super("cpu-worker-" + index);
      this.index = index;
      setDaemon(true);
    }

    @Override
    public void run() {
      while (!closed) {
        if (!runNextChunk(index)) {
          awaitTask();
        }
      }
    }

    private void awaitTask() {
      long start = System.nanoTime();
      while (System.nanoTime() - start < SPIN_NANOS) {
        for (int i = 0; i < SPINS_PER_CLOCK; i++) {
          if (hasChunk(claims.get())) {
            return;
          }
          Thread.onSpinWait();
        }
      }
      parked = true; // before the last look: the caller publishes first and looks at this after
      while (!hasChunk(claims.get()) && !closed) {
        LockSupport.park(WorkerPool.this);
      }
      parked = false;
    }

    void wake() {
      if (parked) {
        LockSupport.unpark(this);
      }
    }
  }
}
