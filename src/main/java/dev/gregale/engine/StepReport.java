package dev.gregale.engine;

import dev.gregale.model.StepOutput;
import dev.gregale.sampling.FinishReason;
import dev.gregale.scheduler.ScheduledBatch;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import org.jspecify.annotations.Nullable;

/**
 * What one step brought, on its way from the loop to the output thread. Reused: filled by the one,
 * read and cleared by the other.
 */
final class StepReport {
  /** A sequence that ended without a token. */
  record End(ActiveSequence sequence, FinishReason reason, int cachedTokens) {
    static End of(ActiveSequence sequence, FinishReason reason) {
      return new End(sequence, reason, sequence.sequence().numCachedTokens());
    }
  }

  /**
   * The experts of a sequence's tokens from a position on.
   *
   * @param expertIds {@code [tokens, L, K]}
   */
  record Routing(ActiveSequence sequence, int firstPosition, short[] expertIds) {}

  /** A request that failed. */
  record Failure(ActiveRequest request, RuntimeException error) {}

  final List<Routing> routings = new ArrayList<>();
  final List<End> ends = new ArrayList<>();
  final List<Failure> failures = new ArrayList<>();
  boolean last;

  private final int topN;
  private int numRows;
  private final @Nullable ActiveSequence[] sequences;
  private final @Nullable FinishReason[] reasons;
  private final int[] cachedTokens;
  private final boolean[] drawn;
  private final int[] tokens;
  private final int[] numLogprobs;
  private final float[] logprobs;
  private final int[] topTokens;
  private final float[] topLogprobs;

  StepReport(int maxRows, int topN) {
    this.topN = topN;
    sequences = new @Nullable ActiveSequence[maxRows];
    reasons = new @Nullable FinishReason[maxRows];
    cachedTokens = new int[maxRows];
    drawn = new boolean[maxRows];
    tokens = new int[maxRows];
    numLogprobs = new int[maxRows];
    logprobs = new float[maxRows];
    topTokens = new int[maxRows * topN];
    topLogprobs = new float[maxRows * topN];
  }

  /** Copies row {@code r} of a step. */
  void addRow(ScheduledBatch batch, StepOutput output, int r, ActiveSequence sequence) {
    int to = numRows++;
    sequences[to] = sequence;
    cachedTokens[to] = sequence.sequence().numCachedTokens();
    drawn[to] = batch.draws(r);
    reasons[to] = drawn[to] ? sequence.sequence().finishReason() : null;
    tokens[to] = output.tokens[r];
    numLogprobs[to] = batch.numLogprobs[r];
    logprobs[to] = output.logprobs[r];
    int top = Math.clamp(batch.numLogprobs[r], 0, topN);
    System.arraycopy(output.topTokens, r * output.topN, topTokens, to * topN, top);
    System.arraycopy(output.topLogprobs, r * output.topN, topLogprobs, to * topN, top);
  }

  /** Copies the experts of the step's s-th sequence. */
  void addRouting(ScheduledBatch batch, StepOutput output, int s, ActiveSequence sequence) {
    RoutingShape shape = sequence.request().routing();
    int k = shape.numExpertsPerTok();
    int first = batch.cuSeqLens[s];
    int tokens = batch.cuSeqLens[s + 1] - first;
    short[] ids = new short[tokens * shape.idsPerToken()];
    int to = 0;
    for (int t = first; t < first + tokens; t++) {
      for (int layer = 0; layer < shape.numLayers(); layer++) {
        for (int i = 0; i < k; i++) {
          ids[to++] = (short) output.expertIds[(layer * batch.numTokens + t) * k + i];
        }
      }
    }
    routings.add(new Routing(sequence, batch.positions[first], ids));
  }

  int numRows() {
    return numRows;
  }

  ActiveSequence sequence(int row) {
    ActiveSequence sequence = sequences[row];
    if (sequence == null) {
      throw new IndexOutOfBoundsException(row);
    }
    return sequence;
  }

  /** The cached tokens of the row's sequence. */
  int cachedTokens(int row) {
    return cachedTokens[row];
  }

  /** Whether the row drew a token, rather than score one of the prompt. */
  boolean drawn(int row) {
    return drawn[row];
  }

  /** Why the row's sequence ends with its token; null if it goes on. */
  @Nullable FinishReason reason(int row) {
    return reasons[row];
  }

  TokenLogprob token(int row) {
    int n = numLogprobs[row];
    if (n < 0) {
      return TokenLogprob.unscored(tokens[row]);
    }
    int from = row * topN;
    return new TokenLogprob(
        tokens[row],
        logprobs[row],
        Arrays.copyOfRange(topTokens, from, from + n),
        Arrays.copyOfRange(topLogprobs, from, from + n));
  }

  /** Empties it and drops what it refers to. */
  void clear() {
    Arrays.fill(sequences, 0, numRows, null);
    numRows = 0;
    routings.clear();
    ends.clear();
    failures.clear();
    last = false;
  }
}
