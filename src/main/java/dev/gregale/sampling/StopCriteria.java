package dev.gregale.sampling;

import java.util.Arrays;
import java.util.stream.IntStream;
import org.jspecify.annotations.Nullable;

/** When the tokens of one sequence end it. Stop strings are {@link StopStringMatcher}'s. */
public final class StopCriteria {
  private final int[] bannedTokens;
  private final int[] stopTokens;
  private final int minTokens;
  private final int maxTokens;
  private final int maxModelLen;

  /**
   * @param eosTokenIds the model's own end-of-sequence tokens
   * @param maxModelLen prompt and output of a sequence, in tokens, at most
   */
  public StopCriteria(SamplingParams params, int[] eosTokenIds, int maxModelLen) {
    int[] requested = params.stopTokenIds().stream().mapToInt(Integer::intValue).toArray();
    bannedTokens = union(eosTokenIds, requested);
    stopTokens = params.ignoreEos() ? union(new int[0], requested) : bannedTokens;
    minTokens = params.minTokens();
    maxTokens = params.maxTokens();
    this.maxModelLen = maxModelLen;
  }

  private static int[] union(int[] a, int[] b) {
    return IntStream.concat(IntStream.of(a), IntStream.of(b)).sorted().distinct().toArray();
  }

  /**
   * Why the sequence ends with this token, or null if it goes on.
   *
   * @param token the last token
   * @param numOutputTokens generated so far, {@code token} included
   * @param numTokens prompt and output so far
   */
  public @Nullable FinishReason check(int token, int numOutputTokens, int numTokens) {
    if (numOutputTokens > minTokens && Arrays.binarySearch(stopTokens, token) >= 0) {
      return FinishReason.STOP;
    }
    return isFull(numOutputTokens, numTokens) ? FinishReason.LENGTH : null;
  }

  /** Whether a sequence of that length ends, whatever its last token is. */
  public boolean isFull(int numOutputTokens, int numTokens) {
    return numOutputTokens >= maxTokens || numTokens >= maxModelLen;
  }

  /** Whether the next token, after {@code numOutputTokens}, must not be a stop token. */
  public boolean bansStopTokens(int numOutputTokens) {
    return numOutputTokens < minTokens;
  }

  /**
   * What must not be drawn while {@link #bansStopTokens}: end of sequence (also where it would be
   * ignored) and the requested stop tokens, ascending.
   */
  public int[] bannedTokens() {
    return bannedTokens.clone();
  }
}
