package dev.gregale.engine;

import dev.gregale.scheduler.SchedulerConfig;
import java.time.Duration;

/**
 * How much the engine takes on.
 *
 * @param maxNumSeqs sequences that run at the same time, at most
 * @param maxNumBatchedTokens tokens of one step, at most
 * @param maxModelLen prompt and output of one sequence, in tokens, at most
 * @param blockSize tokens of one KV block
 * @param numBlocks KV blocks there are
 * @param maxLogitRows rows of logits of one step, at most
 * @param maxQueuedRequests requests that wait for their first step, at most
 * @param maxSequencesPerRequest prompts times n, at most
 * @param maxTokensPerRequest prompts times n times max_tokens, at most
 * @param maxBufferedEvents how many events a reader may fall behind before its request is aborted
 * @param enablePrefixCaching share computed prefixes between sequences
 * @param schedulingPolicy who of those that wait runs next
 * @param drainTimeout how long {@link AsyncLlmEngine#close()} lets running requests go on
 */
public record EngineLimits(
    int maxNumSeqs,
    int maxNumBatchedTokens,
    int maxModelLen,
    int blockSize,
    int numBlocks,
    int maxLogitRows,
    int maxQueuedRequests,
    int maxSequencesPerRequest,
    long maxTokensPerRequest,
    int maxBufferedEvents,
    boolean enablePrefixCaching,
    SchedulingPolicy schedulingPolicy,
    Duration drainTimeout) {

  public EngineLimits {
    requirePositive("max-queued-requests", maxQueuedRequests);
    requirePositive("max-sequences-per-request", maxSequencesPerRequest);
    requirePositive("max-tokens-per-request", maxTokensPerRequest);
    if (maxBufferedEvents < 4L * maxSequencesPerRequest) {
      throw new IllegalArgumentException(
          "max-buffered-events is %d, but must be at least 4 times max-sequences-per-request (%d)"
              .formatted(maxBufferedEvents, maxSequencesPerRequest));
    }
    if (drainTimeout.isNegative()) {
      throw new IllegalArgumentException(
          "drain-timeout is " + drainTimeout + ", but must not be negative");
    }
    new SchedulerConfig( // checks the rest
        maxNumSeqs,
        maxNumBatchedTokens,
        maxModelLen,
        blockSize,
        numBlocks,
        maxLogitRows,
        1,
        enablePrefixCaching);
  }

  /** The scheduler's share of the limits. */
  public SchedulerConfig scheduler() {
    // Admission lets no more requests in than can start and wait at the same time, and no more
    // beams of searches than can run, or those of one search.
    long maxBeams = Math.max(maxNumSeqs, maxSequencesPerRequest);
    long maxWaitingSeqs =
        ((long) maxNumSeqs + maxQueuedRequests) * maxSequencesPerRequest + maxBeams;
    return new SchedulerConfig(
        maxNumSeqs,
        maxNumBatchedTokens,
        maxModelLen,
        blockSize,
        numBlocks,
        maxLogitRows,
        Math.clamp(maxWaitingSeqs, 1, Integer.MAX_VALUE),
        enablePrefixCaching);
  }

  private static void requirePositive(String name, long value) {
    if (value < 1) {
      throw new IllegalArgumentException(name + " is " + value + ", but must be at least 1");
    }
  }
}
