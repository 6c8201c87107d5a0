package dev.gregale.scheduler;

import dev.gregale.sampling.SamplingParams;
import dev.gregale.sampling.TokenMatcher;
import java.util.Arrays;

/** Writes chunks of sequences into a {@link ScheduledBatch}. */
final class BatchWriter {
  private static final int DRAW = -1;

  private final int blockSize;

  BatchWriter(int blockSize) {
    this.blockSize = blockSize;
  }

  /** Appends the next {@code length} tokens of a sequence that has the blocks for them. */
  void append(ScheduledBatch batch, Sequence sequence, int length) {
    int s = batch.numSeqs();
    int firstRow = batch.numTokens;
    int start = sequence.numComputedTokens();
    int end = start + length;
    int known = Math.min(length, sequence.numTokens() - start);
    sequence.copyTokens(start, batch.tokenIds, firstRow, known);
    Arrays.fill(batch.tokenSources, firstRow, firstRow + known, ScheduledBatch.FROM_HOST);
    if (known < length) { // the last one is being drawn by the step before this
      batch.tokenIds[firstRow + known] = 0;
      batch.tokenSources[firstRow + known] = sequence.drawnRow();
    }
    for (int i = 0; i < length; i++) {
      batch.positions[firstRow + i] = start + i;
      batch.slotMapping[firstRow + i] = sequence.blockTable().slot(start + i, blockSize);
    }
    sequence.blockTable().copyTo(batch.blockTables, s * batch.maxBlocksPerSeq);
    batch.contextLens[s] = end;
    batch.cuSeqLens[s] = firstRow;
    batch.cuSeqLens[s + 1] = firstRow + length;
    batch.sequences.add(sequence);
    batch.numTokens += length;

    int lastScored = Math.min(end, sequence.numPromptTokens() - 1);
    for (int t = Math.max(start, sequence.firstUnscored()); t < lastScored; t++) {
      appendScoredRow(batch, sequence, s, firstRow + t - start, t + 1);
    }
    sequence.computed(end);
    if (end == sequence.length() && sequence.drawsTokens()) {
      appendDrawnRow(batch, sequence, s, firstRow + length - 1);
    }
  }

  /** A row whose next token is known and gets its log-probability; nothing else of it matters. */
  private static void appendScoredRow(
      ScheduledBatch batch, Sequence sequence, int s, int tokenRow, int position) {
    int r = appendRow(batch, s, tokenRow, position);
    batch.givenToken[r] = sequence.token(position);
    batch.numLogprobs[r] = sequence.params().promptLogprobs();
    batch.temperature[r] = 0;
    batch.topK[r] = 0;
    batch.topP[r] = 1;
    batch.minP[r] = 0;
    batch.repetitionPenalty[r] = 1;
    batch.presencePenalty[r] = 0;
    batch.frequencyPenalty[r] = 0;
    batch.seed[r] = 0;
  }

  private static void appendDrawnRow(ScheduledBatch batch, Sequence sequence, int s, int tokenRow) {
    int r = appendRow(batch, s, tokenRow, sequence.length());
    SamplingParams params = sequence.params();
    batch.needsHistory |= params.needsHistory();
    batch.givenToken[r] = DRAW;
    batch.numLogprobs[r] = params.logprobs();
    batch.temperature[r] = params.temperature();
    batch.topK[r] = params.topK();
    batch.topP[r] = params.topP();
    batch.minP[r] = params.minP();
    batch.repetitionPenalty[r] = params.repetitionPenalty();
    batch.presencePenalty[r] = params.presencePenalty();
    batch.frequencyPenalty[r] = params.frequencyPenalty();
    batch.seed[r] = sequence.seed();
    LogitAdjustments adjustments = sequence.adjustments();
    if (adjustments != null) {
      adjustments.appendTo(batch, sequence);
    }
    batch.adjustOffsets[r + 1] = batch.numAdjustments;
    TokenMatcher matcher = sequence.matcher();
    if (matcher != null) {
      batch.addMask(r, matcher);
    }
    sequence.addPlaceholder(r);
  }

  private static int appendRow(ScheduledBatch batch, int s, int tokenRow, int position) {
    int r = batch.numLogitRows++;
    batch.logitRows[r] = tokenRow;
    batch.logitSequence[r] = s;
    batch.samplePosition[r] = position;
    batch.maskRow[r] = ScheduledBatch.NO_MASK;
    batch.adjustOffsets[r] = batch.numAdjustments;
    batch.adjustOffsets[r + 1] = batch.numAdjustments;
    return r;
  }
}
