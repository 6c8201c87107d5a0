package dev.gregale.scheduler;

import dev.gregale.sampling.TokenMatcher;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;

/**
 * One step's work in flat arrays, ready to be copied to the device: the hand-over from the
 * scheduler to the model. Allocated once at its capacity and filled anew for each step. The fields
 * are public because they are data; only the scheduler writes them.
 *
 * <p>Legend: T tokens, S sequences, R rows of logits, A adjustments, M masks, W words of a mask.
 */
public final class ScheduledBatch {
  /** In {@link #tokenSources}: the token is in {@link #tokenIds}. */
  public static final int FROM_HOST = -1;

  /** In {@link #maskRow}: every token may be drawn. */
  public static final int NO_MASK = -1;

  /** {@code [S]}, the sequences of this step, decodes first. */
  public final List<Sequence> sequences = new ArrayList<>();

  public int numTokens;
  public int numLogitRows;
  public int numAdjustments;
  public int numMasks;

  /** Whether what follows on this step cannot be scheduled before its tokens are known. */
  public boolean needsHistory;

  /** {@code [T]}. */
  public final int[] tokenIds;

  /**
   * {@code [T]}: {@link #FROM_HOST}, or the row of logits of the step before this that draws the
   * token.
   */
  public final int[] tokenSources;

  /** {@code [T]}. */
  public final int[] positions;

  /** {@code [T]}: block * blockSize + offset; -1 writes nothing. */
  public final int[] slotMapping;

  /** {@code [S + 1]}. */
  public final int[] cuSeqLens;

  /** {@code [S]}: computed tokens after this step. */
  public final int[] contextLens;

  /** {@code [S, maxBlocksPerSeq]}. */
  public final int[] blockTables;

  public final int maxBlocksPerSeq;

  /** {@code [R]}: token row whose logits are wanted. */
  public final int[] logitRows;

  /** {@code [R]}: index into {@link #sequences}. */
  public final int[] logitSequence;

  /** {@code [R]}, as in {@code backend.SamplingInputs}. */
  public final float[] temperature;

  public final int[] topK;
  public final float[] topP;
  public final float[] minP;
  public final float[] repetitionPenalty;
  public final float[] presencePenalty;
  public final float[] frequencyPenalty;
  public final long[] seed;
  public final int[] samplePosition;
  public final int[] givenToken;
  public final int[] numLogprobs;

  /** {@code [R + 1]}. */
  public final int[] adjustOffsets;

  /** {@code [A]}; these three grow when a step needs more. */
  public int[] adjustTokens = new int[1024];

  public int[] adjustCounts = new int[1024];
  public float[] adjustBias = new float[1024];

  /** {@code [R]}: which of the masks, or {@link #NO_MASK}. */
  public final int[] maskRow;

  /** {@code [M, W]}; grows when a step needs more. */
  public int[] allowedTokens = new int[0];

  /** M * W. */
  public int numMaskWords;

  public ScheduledBatch(int maxTokens, int maxSeqs, int maxLogitRows, int maxBlocksPerSeq) {
    this.maxBlocksPerSeq = maxBlocksPerSeq;
    tokenIds = new int[maxTokens];
    tokenSources = new int[maxTokens];
    positions = new int[maxTokens];
    slotMapping = new int[maxTokens];
    cuSeqLens = new int[maxSeqs + 1];
    contextLens = new int[maxSeqs];
    blockTables = new int[maxSeqs * maxBlocksPerSeq];
    logitRows = new int[maxLogitRows];
    logitSequence = new int[maxLogitRows];
    temperature = new float[maxLogitRows];
    topK = new int[maxLogitRows];
    topP = new float[maxLogitRows];
    minP = new float[maxLogitRows];
    repetitionPenalty = new float[maxLogitRows];
    presencePenalty = new float[maxLogitRows];
    frequencyPenalty = new float[maxLogitRows];
    seed = new long[maxLogitRows];
    samplePosition = new int[maxLogitRows];
    givenToken = new int[maxLogitRows];
    numLogprobs = new int[maxLogitRows];
    adjustOffsets = new int[maxLogitRows + 1];
    maskRow = new int[maxLogitRows];
  }

  /** Empties the batch. */
  public void clear() {
    sequences.clear();
    numTokens = 0;
    numLogitRows = 0;
    numAdjustments = 0;
    numMasks = 0;
    numMaskWords = 0;
    needsHistory = false;
  }

  /**
   * Fills the arrays up to {@code rows} with padding after a batch of one new token and one row of
   * logits per sequence: rows that write no cache, see no context and draw nothing. The counts stay
   * those of the batch.
   */
  public void padDecode(int rows) {
    int real = numSeqs();
    Arrays.fill(tokenIds, real, rows, 0);
    Arrays.fill(tokenSources, real, rows, FROM_HOST);
    Arrays.fill(positions, real, rows, 0);
    Arrays.fill(slotMapping, real, rows, -1);
    Arrays.fill(contextLens, real, rows, 0);
    Arrays.fill(blockTables, real * maxBlocksPerSeq, rows * maxBlocksPerSeq, 0);
    Arrays.fill(temperature, real, rows, 0);
    Arrays.fill(givenToken, real, rows, 0); // scored, not drawn: the rest is never read
    Arrays.fill(numLogprobs, real, rows, -1);
    Arrays.fill(maskRow, real, rows, NO_MASK);
    for (int row = real; row < rows; row++) {
      cuSeqLens[row + 1] = row + 1;
      logitRows[row] = row;
      adjustOffsets[row + 1] = adjustOffsets[row];
    }
  }

  /** Whether that row of logits draws a token, which its sequence is then given. */
  public boolean draws(int row) {
    return givenToken[row] < 0;
  }

  void addAdjustment(int token, int count, float bias) {
    if (numAdjustments == adjustTokens.length) {
      adjustTokens = Arrays.copyOf(adjustTokens, 2 * numAdjustments);
      adjustCounts = Arrays.copyOf(adjustCounts, 2 * numAdjustments);
      adjustBias = Arrays.copyOf(adjustBias, 2 * numAdjustments);
    }
    adjustTokens[numAdjustments] = token;
    adjustCounts[numAdjustments] = count;
    adjustBias[numAdjustments++] = bias;
  }

  /** Lets only what the matcher allows be drawn in a row. */
  void addMask(int row, TokenMatcher matcher) {
    int words = matcher.maskWords();
    if (numMaskWords + words > allowedTokens.length) {
      allowedTokens = Arrays.copyOf(allowedTokens, Math.max(words, 2 * numMaskWords));
    }
    matcher.writeMask(allowedTokens, numMaskWords);
    numMaskWords += words;
    maskRow[row] = numMasks++;
  }

  public int numSeqs() {
    return sequences.size();
  }

  public boolean isEmpty() {
    return numTokens == 0;
  }
}
