package dev.gregale.scheduler;

import dev.gregale.sampling.FinishReason;
import dev.gregale.sampling.SamplingParams;
import dev.gregale.sampling.StopCriteria;
import dev.gregale.sampling.TokenConstraint;
import dev.gregale.sampling.TokenMatcher;
import java.util.Arrays;
import java.util.Comparator;
import org.jspecify.annotations.Nullable;

/**
 * One sequence of tokens on its way: prompt, output, and how much of it is computed. Once it is
 * with a {@link Scheduler}, it belongs to the scheduler's thread.
 */
public final class Sequence {

  /** Where a sequence stands. */
  public enum Status {
    /** Not admitted yet, or preempted: owns no blocks. */
    WAITING,
    RUNNING,
    FINISHED
  }

  /** In which sequences run: by priority, the lowest first, then by arrival. */
  static final Comparator<Sequence> ORDER =
      Comparator.<Sequence>comparingInt(s -> s.priority).thenComparingLong(s -> s.arrival);

  private static final int NOT_ADMITTED = -1;
  private final int[] promptTokens;
  private final SamplingParams params;
  private final long seed;
  private final @Nullable String cacheSalt;
  private final StopCriteria stopCriteria;
  private final BlockTable blockTable = new BlockTable();
  private int[] outputTokens = new int[16];
  private int numOutputTokens;
  private int numPlaceholders;
  private int drawnRow;
  private int priority;
  private long arrival;
  private int numComputedTokens;
  private int numScoredTokens;
  private int numCachedTokens = NOT_ADMITTED;
  private Status status = Status.WAITING;
  private @Nullable FinishReason finishReason;
  private @Nullable LogitAdjustments adjustments;
  private @Nullable TokenMatcher matcher;

  /**
   * @param promptTokens at least one; shared, not copied, and must not change
   * @param seed for drawing; {@code params.seed()} is not read
   * @param eosTokenIds the model's own end-of-sequence tokens
   * @param maxModelLen prompt and output, in tokens, at most
   * @param cacheSalt whose sequences may share KV blocks with this one: those of the same salt;
   *     null is one too
   * @throws IllegalArgumentException if the prompt is empty or leaves no room
   */
  public Sequence(
      int[] promptTokens,
      SamplingParams params,
      long seed,
      int[] eosTokenIds,
      int maxModelLen,
      @Nullable String cacheSalt) {
    if (promptTokens.length == 0) {
      throw new IllegalArgumentException("the prompt has no tokens");
    }
    int longestPrompt = params.maxTokens() == 0 ? maxModelLen : maxModelLen - 1;
    if (promptTokens.length > longestPrompt) {
      throw new IllegalArgumentException(
          "the prompt has %d tokens, but the model's context of %d leaves room for %d"
              .formatted(promptTokens.length, maxModelLen, longestPrompt));
    }
    this.promptTokens = promptTokens;
    this.params = params;
    this.seed = seed;
    this.cacheSalt = cacheSalt;
    stopCriteria = new StopCriteria(params, eosTokenIds, maxModelLen);
  }

  public SamplingParams params() {
    return params;
  }

  public Status status() {
    return status;
  }

  /** Why it ended; null before. */
  public @Nullable FinishReason finishReason() {
    return finishReason;
  }

  public int numPromptTokens() {
    return promptTokens.length;
  }

  public int numOutputTokens() {
    return numOutputTokens;
  }

  /** Tokens known: prompt and output so far. */
  public int numTokens() {
    return promptTokens.length + numOutputTokens;
  }

  /** Tokens that submitted steps draw and whose results are not known yet. */
  int numPlaceholders() {
    return numPlaceholders;
  }

  /** Prompt and output, placeholders included. */
  int length() {
    return numTokens() + numPlaceholders;
  }

  /** The row of logits, in the latest step, that draws the last placeholder. */
  int drawnRow() {
    return drawnRow;
  }

  /** Tokens whose keys and values are in the cache, once the steps scheduled so far have run. */
  public int numComputedTokens() {
    return numComputedTokens;
  }

  /** Tokens that were in the cache already when it was first admitted; 0 before. */
  public int numCachedTokens() {
    return Math.max(0, numCachedTokens);
  }

  /** Its place in the {@link #ORDER}. */
  void queue(int priority, long arrival) {
    this.priority = priority;
    this.arrival = arrival;
  }

  int priority() {
    return priority;
  }

  long arrival() {
    return arrival;
  }

  /** Whether it was ever admitted. */
  boolean wasAdmitted() {
    return numCachedTokens != NOT_ADMITTED;
  }

  /**
   * Leading tokens that need not be computed if the cache has them: all but the last known one,
   * whose logits are wanted, and those from which on prompt positions need their next token scored.
   * None where the experts of all of them are asked for.
   */
  int numSkippableTokens() {
    if (params.returnRoutedExperts()) {
      return 0;
    }
    boolean scores = firstUnscored() < promptTokens.length - 1;
    return scores ? firstUnscored() : numTokens() - 1;
  }

  @Nullable String cacheSalt() {
    return cacheSalt;
  }

  /** The token at a position of prompt and output. */
  public int token(int position) {
    return position < promptTokens.length
        ? promptTokens[position]
        : outputTokens[position - promptTokens.length];
  }

  long seed() {
    return seed;
  }

  StopCriteria stopCriteria() {
    return stopCriteria;
  }

  BlockTable blockTable() {
    return blockTable;
  }

  /** Tokens that are not computed; none where the last placeholder ends the sequence anyway. */
  int numPendingTokens() {
    boolean ends =
        numPlaceholders > 0 && stopCriteria.isFull(numOutputTokens + numPlaceholders, length());
    return ends ? 0 : length() - numComputedTokens;
  }

  /** Whether a token is drawn once all known ones are computed. */
  boolean drawsTokens() {
    return params.maxTokens() > 0;
  }

  /**
   * The first position from which on prompt positions still need their next token scored; at or
   * beyond the last prompt token if none does. Survives preemption: nothing is scored twice.
   */
  int firstUnscored() {
    return params.promptLogprobs() < 0 ? promptTokens.length : numScoredTokens;
  }

  /** What to change about the logits before drawing; null for nothing. */
  @Nullable LogitAdjustments adjustments() {
    // Made when first drawn for: its size is that of the prompt, and queued requests are many.
    if (adjustments == null && LogitAdjustments.neededFor(params)) {
      adjustments = new LogitAdjustments(params, stopCriteria.bannedTokens(), promptTokens);
    }
    return adjustments;
  }

  /** Which tokens may be drawn; null for all. */
  @Nullable TokenMatcher matcher() {
    TokenConstraint constraint = params.structuredOutput();
    if (matcher == null && constraint != null) {
      matcher = constraint.newMatcher();
    }
    return matcher;
  }

  /** Whether a token may have been drawn; always where none is drawn any more. */
  public boolean allows(int token) {
    return matcher == null || matcher.allows(token);
  }

  /** Copies the tokens from a position on, known ones only. */
  void copyTokens(int position, int[] destination, int offset, int length) {
    int fromPrompt = Math.clamp(promptTokens.length - position, 0, length);
    System.arraycopy(
        promptTokens, Math.min(position, promptTokens.length), destination, offset, fromPrompt);
    if (fromPrompt < length) {
      int from = position + fromPrompt - promptTokens.length;
      System.arraycopy(outputTokens, from, destination, offset + fromPrompt, length - fromPrompt);
    }
  }

  /** Whether the tokens from a position on, known ones only, are those of the other array. */
  boolean hasTokens(int position, int[] other, int offset, int length) {
    int p = Math.min(position, promptTokens.length);
    int n = Math.clamp(promptTokens.length - position, 0, length);
    int from = position + n - promptTokens.length;
    return Arrays.equals(promptTokens, p, p + n, other, offset, offset + n)
        && (n == length
            || Arrays.equals(
                outputTokens, from, from + length - n, other, offset + n, offset + length));
  }

  /** A step draws the next token in that row of its logits. */
  void addPlaceholder(int row) {
    drawnRow = row;
    numPlaceholders++;
  }

  /** Puts the drawn token in the place of the first placeholder. */
  void append(int token) {
    numPlaceholders--;
    if (numOutputTokens == outputTokens.length) {
      outputTokens = Arrays.copyOf(outputTokens, 2 * numOutputTokens);
    }
    outputTokens[numOutputTokens++] = token;
    if (adjustments != null) {
      adjustments.count(token);
    }
    if (matcher != null) {
      matcher.accept(token);
    }
  }

  void computed(int numTokens) {
    numComputedTokens = numTokens;
    numScoredTokens = Math.max(numScoredTokens, Math.min(numTokens, promptTokens.length - 1));
  }

  /** Runs from now on, with that many of its tokens computed already. */
  void admit(int cachedTokens) {
    if (!wasAdmitted()) {
      numCachedTokens = cachedTokens;
    }
    status = Status.RUNNING;
    numComputedTokens = cachedTokens;
  }

  void preempt() {
    status = Status.WAITING;
    numComputedTokens = 0;
  }

  void finish(FinishReason reason) {
    status = Status.FINISHED;
    finishReason = reason;
    adjustments = null;
    matcher = null;
  }
}
