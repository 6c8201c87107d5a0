package dev.gregale.convert;

import static dev.gregale.checkpoint.CheckpointException.quote;

import dev.gregale.checkpoint.CheckpointException;
import dev.gregale.convert.ConversionJob.Order;
import dev.gregale.convert.ConversionJob.State;
import dev.gregale.convert.JobRefusedException.Reason;
import dev.gregale.quantization.Quantization;
import java.io.IOException;
import java.nio.file.NoSuchFileException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.UUID;
import java.util.concurrent.ArrayBlockingQueue;
import java.util.concurrent.CancellationException;
import java.util.concurrent.RejectedExecutionException;
import java.util.concurrent.ThreadPoolExecutor;
import java.util.concurrent.TimeUnit;
import org.jspecify.annotations.Nullable;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/** Runs conversions in the background, a bounded number of them, and remembers a bounded number. */
public final class ConversionJobs implements AutoCloseable {
  private static final Logger LOG = LoggerFactory.getLogger(ConversionJobs.class);
  private static final int CLOSE_SECONDS = 20;

  private final ConversionRoots roots;
  private final ModelComparison comparison;
  private final int maxRemembered;
  private final ThreadPoolExecutor executor;
  private final Map<String, Entry> entries = new LinkedHashMap<>(); // oldest first
  private final Map<String, Entry> byKey = new HashMap<>();
  private volatile boolean closing;

  private record Entry(ConversionJob job, Path target, @Nullable String key, Runnable task) {}

  /**
   * @param comparison for jobs that ask for it
   * @param maxRunning conversions at the same time
   * @param maxQueued jobs that wait; further ones are refused
   * @param maxRemembered jobs that have ended
   */
  public ConversionJobs(
      ConversionRoots roots,
      ModelComparison comparison,
      int maxRunning,
      int maxQueued,
      int maxRemembered) {
    this.roots = roots;
    this.comparison = comparison;
    this.maxRemembered = maxRemembered;
    this.executor =
        new ThreadPoolExecutor(
            maxRunning,
            maxRunning,
            0,
            TimeUnit.SECONDS,
            new ArrayBlockingQueue<>(maxQueued),
            Thread.ofPlatform().name("conversion-job-", 0).daemon().factory());
  }

  /**
   * Takes an order.
   *
   * @param key of the caller: the same one again gives the same job; null for none
   * @throws RootException if a name leads out of the roots
   * @throws NoSuchFileException if the source, or the target's parent, does not exist
   * @throws TargetException if the target exists and is not to be replaced
   * @throws JobRefusedException if the order cannot be taken now
   */
  public synchronized ConversionJob submit(Order order, @Nullable String key) throws IOException {
    Entry known = key == null ? null : byKey.get(key);
    if (known != null) {
      if (!known.job().order().equals(order)) {
        throw new JobRefusedException(
            Reason.KEY_REUSED,
            "The idempotency key %s was used for another request; choose a new one"
                .formatted(quote(String.valueOf(key))));
      }
      return known.job();
    }
    ConversionRequest request = request(order);
    new TargetDirectory(request.target()).require(request.source(), order.overwrite());
    requireIdle(request.target());
    ConversionJob job = new ConversionJob("conv-" + UUID.randomUUID(), order);
    Entry entry = new Entry(job, request.target(), key, () -> run(job));
    try {
      executor.execute(entry.task());
    } catch (RejectedExecutionException e) {
      throw new JobRefusedException(
          Reason.FULL,
          closing
              ? "The server is stopping"
              : "%d conversions wait already; wait for one to end, or cancel one"
                  .formatted(executor.getQueue().size()));
    }
    entries.put(job.id(), entry);
    if (key != null) {
      byKey.put(key, entry);
    }
    forgetOldest();
    return job;
  }

  private void requireIdle(Path target) {
    for (Entry entry : entries.values()) {
      if (entry.target().equals(target) && !entry.job().state().isFinal()) {
        throw new JobRefusedException(
            Reason.TARGET_BUSY,
            "Job " + entry.job().id() + " makes the same target; wait for it, or cancel it");
      }
    }
  }

  private void forgetOldest() {
    List<Entry> ended =
        entries.values().stream().filter(entry -> entry.job().state().isFinal()).toList();
    ended.stream().limit(Math.max(0, ended.size() - maxRemembered)).forEach(this::forget);
  }

  private void forget(Entry entry) {
    entries.remove(entry.job().id());
    if (entry.key() != null) {
      byKey.remove(entry.key());
    }
  }

  /** Null if there is no such job, or it has been forgotten. */
  public synchronized @Nullable ConversionJob find(String id) {
    Entry entry = entries.get(id);
    return entry == null ? null : entry.job();
  }

  /** All that are remembered, newest first. */
  public synchronized List<ConversionJob> list() {
    return new ArrayList<>(entries.values().stream().map(Entry::job).toList()).reversed();
  }

  /**
   * Cancels a job and removes what it has written, unless it has published its target by then. One
   * that has ended is forgotten, and what a failed one has left to be gone on with is removed.
   *
   * @return the job; null if there is none
   * @throws JobRefusedException if another job goes on with what a failed one has left
   * @throws IOException if a file cannot be removed
   */
  public synchronized @Nullable ConversionJob cancel(String id) throws IOException {
    Entry entry = entries.get(id);
    if (entry == null) {
      return null;
    }
    if (entry.job().state().isFinal()) {
      if (entry.job().isResumable()) {
        requireIdle(entry.target());
        new CheckpointConverter(null).discard(entry.target());
      }
      forget(entry);
    } else {
      entry.job().cancel();
      executor.remove(entry.task());
    }
    return entry.job();
  }

  /** Names are resolved when a job is taken and again when it runs: links may have changed. */
  private ConversionRequest request(Order order) throws IOException {
    return new ConversionRequest(
        roots.source(order.source()),
        roots.target(order.target()),
        order.to() == null ? null : order.to().layout(),
        order.dtype() == null ? null : order.dtype().dtype(),
        order.quantize() == null ? Quantization.NONE : order.quantize().quantization(),
        order.dequantize(),
        order.maxShardBytes(),
        order.expertParallelSize(),
        order.overwrite(),
        false);
  }

  private void run(ConversionJob job) {
    if (!job.start()) {
      return;
    }
    Order order = job.order();
    CheckpointConverter converter =
        new CheckpointConverter(order.compareLogits() ? comparison : null);
    try {
      ConversionRequest request = request(order);
      try {
        ConversionResult result =
            order.dryRun()
                ? converter.plan(request)
                : converter.convert(request, progress -> progress(job, progress));
        job.finish(State.SUCCEEDED, result, null);
      } catch (CancellationException e) {
        cancelled(job, converter, request.target());
      }
    } catch (CheckpointException | TargetException | RootException | VerificationException e) {
      job.finish(State.FAILED, null, e.getMessage());
    } catch (NoSuchFileException e) {
      job.finish(State.FAILED, null, "There is no longer a " + quote(e.getFile()));
    } catch (IOException e) {
      LOG.warn("Conversion {} failed", job.id(), e);
      job.failResumably(IoReason.of(e));
    } catch (RuntimeException | Error e) {
      LOG.error("Conversion {} failed", job.id(), e);
      job.finish(State.FAILED, null, "The server failed; its log has the cause under this id");
    }
  }

  private void progress(ConversionJob job, ConversionProgress progress) {
    if (closing) {
      throw new CancellationException("closing");
    }
    job.progress(progress);
  }

  private static void cancelled(ConversionJob job, CheckpointConverter converter, Path target)
      throws IOException {
    if (job.state() == State.CANCELLING) {
      converter.discard(target);
      job.finish(State.CANCELLED, null, null);
    } else {
      job.failResumably("The server stopped");
    }
  }

  /** Stops what runs, resumably, and takes nothing more. */
  @Override
  public void close() {
    closing = true;
    executor.shutdown();
    synchronized (this) {
      entries.values().stream()
          .filter(entry -> executor.remove(entry.task()))
          .forEach(entry -> entry.job().cancel());
    }
    try {
      if (!executor.awaitTermination(CLOSE_SECONDS, TimeUnit.SECONDS)) {
        LOG.warn("A conversion does not stop; it can be gone on with later");
      }
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
    }
  }
}
