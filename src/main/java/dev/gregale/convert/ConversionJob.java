package dev.gregale.convert;

import java.time.Instant;
import java.util.concurrent.CancellationException;
import org.jspecify.annotations.Nullable;

/** A conversion that runs in the background. Threads share it. */
public final class ConversionJob {

  /**
   * What was asked for; names are not yet resolved.
   *
   * @param to null: the layout that the source does not have
   * @param dtype null: as in the source
   * @param quantize null: as in the source
   * @param dequantize whether a quantised source is written in {@code dtype}
   * @param expertParallelSize ranks that experts are dealt out to
   * @param dryRun only check everything
   * @param compareLogits also run both models
   */
  public record Order(
      String source,
      String target,
      @Nullable TargetLayout to,
      @Nullable WeightType dtype,
      @Nullable WeightRecipe quantize,
      boolean dequantize,
      long maxShardBytes,
      int expertParallelSize,
      boolean overwrite,
      boolean dryRun,
      boolean compareLogits) {}

  /** The last three are final. */
  public enum State {
    QUEUED,
    RUNNING,
    CANCELLING,
    SUCCEEDED,
    FAILED,
    CANCELLED;

    public boolean isFinal() {
      return compareTo(SUCCEEDED) >= 0;
    }
  }

  /**
   * A job at one moment.
   *
   * @param reading null before it has begun to read
   * @param result null unless it has succeeded
   * @param error what went wrong and what to do; null unless it has failed
   */
  public record View(
      String id,
      Order order,
      State state,
      Instant createdAt,
      @Nullable Instant startedAt,
      @Nullable Instant finishedAt,
      ProgressMeter.@Nullable Reading reading,
      @Nullable ConversionResult result,
      @Nullable String error) {}

  private final String id;
  private final Order order;
  private final Instant createdAt = Instant.now();
  private final ProgressMeter meter = new ProgressMeter();
  private State state = State.QUEUED;
  private @Nullable Instant startedAt;
  private @Nullable Instant finishedAt;
  private @Nullable ConversionResult result;
  private @Nullable String error;
  private boolean resumable;

  ConversionJob(String id, Order order) {
    this.id = id;
    this.order = order;
  }

  public String id() {
    return id;
  }

  Order order() {
    return order;
  }

  public synchronized View view() {
    return new View(
        id, order, state, createdAt, startedAt, finishedAt, meter.read(), result, error);
  }

  synchronized State state() {
    return state;
  }

  /** Whether it is to run; not if it has been cancelled before. */
  synchronized boolean start() {
    if (state != State.QUEUED) {
      return false;
    }
    state = State.RUNNING;
    startedAt = Instant.now();
    return true;
  }

  /** Ends it at once if it has not begun, else at its next progress. */
  synchronized void cancel() {
    if (state == State.QUEUED) {
      finish(State.CANCELLED, null, null);
    } else if (state == State.RUNNING) {
      state = State.CANCELLING;
    }
  }

  /**
   * Takes note of progress.
   *
   * @throws CancellationException if the job is to end
   */
  void progress(ConversionProgress progress) {
    meter.progress(progress);
    if (state() == State.CANCELLING) {
      throw new CancellationException("cancelled");
    }
  }

  /** Ends it, with what has been written left for another go. */
  synchronized void failResumably(String withError) {
    resumable = true;
    finish(State.FAILED, null, withError + "; the same request goes on where this one stopped");
  }

  /** Whether it has failed and left what it had written. */
  synchronized boolean isResumable() {
    return resumable;
  }

  synchronized void finish(
      State last, @Nullable ConversionResult withResult, @Nullable String withError) {
    state = last;
    result = withResult;
    error = withError;
    finishedAt = Instant.now();
  }
}
