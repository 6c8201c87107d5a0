package dev.gregale.scheduler;

import java.util.Arrays;

/**
 * A model whose "KV cache" holds the token ids themselves. It writes and reads them through slot
 * mapping and block tables as attention would, so a wrong slot or table shows as a wrong token. The
 * next token is a function of all tokens before it and the seed, or the first one after that which
 * the row's mask allows.
 */
public final class FakePagedModel {
  private static final int MAX_ROWS = 1024;

  private final int blockSize;
  private final int vocabSize;
  private final int[] cachedToken;
  private final int[] cachedPosition;
  private int[] drawn = new int[MAX_ROWS];

  public FakePagedModel(int numBlocks, int blockSize, int vocabSize) {
    this.blockSize = blockSize;
    this.vocabSize = vocabSize;
    cachedToken = new int[numBlocks * blockSize];
    cachedPosition = new int[numBlocks * blockSize];
  }

  /** Writes the batch into the cache, then fills tokens and log-probabilities of its rows. */
  public void run(ScheduledBatch batch, int[] tokens, float[] logprobs) {
    for (int t = 0; t < batch.numTokens; t++) {
      if (batch.slotMapping[t] < 0) {
        continue;
      }
      int source = batch.tokenSources[t];
      cachedToken[batch.slotMapping[t]] = source < 0 ? batch.tokenIds[t] : drawn[source];
      cachedPosition[batch.slotMapping[t]] = batch.positions[t];
    }
    for (int r = 0; r < batch.numLogitRows; r++) {
      int s = batch.logitSequence[r];
      int row = batch.logitRows[r];
      if (row < batch.cuSeqLens[s] || row >= batch.cuSeqLens[s + 1]) {
        throw new AssertionError("row of logits " + r + " is not of its sequence");
      }
      if (batch.slotMapping[row] < 0) {
        tokens[r] = 0;
        continue;
      }
      int[] context = read(batch, s, batch.positions[row] + 1);
      tokens[r] =
          batch.givenToken[r] >= 0
              ? batch.givenToken[r]
              : allowed(batch, r, next(context, context.length, batch.seed[r], vocabSize));
      logprobs[r] = logprob(context, context.length, tokens[r]);
    }
    drawn = Arrays.copyOf(tokens, MAX_ROWS);
  }

  private int allowed(ScheduledBatch batch, int row, int drawn) {
    int token = drawn;
    int words = (vocabSize + 31) / 32;
    int mask = batch.maskRow[row];
    while (mask >= 0 && (batch.allowedTokens[mask * words + token / 32] >> token % 32 & 1) == 0) {
      token = (token + 1) % vocabSize;
    }
    return token;
  }

  private int[] read(ScheduledBatch batch, int s, int length) {
    int[] context = new int[length];
    for (int p = 0; p < length; p++) {
      int block = batch.blockTables[s * batch.maxBlocksPerSeq + p / blockSize];
      int slot = block * blockSize + p % blockSize;
      if (cachedPosition[slot] != p) {
        throw new AssertionError(
            "slot " + slot + " holds position " + cachedPosition[slot] + ", not " + p);
      }
      context[p] = cachedToken[slot];
    }
    return context;
  }

  /** The token that follows the first {@code length} of {@code context}. */
  public static int next(int[] context, int length, long seed, int vocabSize) {
    return Math.floorMod(hash(context, length, seed), vocabSize);
  }

  /** The log-probability of a token after the first {@code length} of {@code context}. */
  public static float logprob(int[] context, int length, int token) {
    return -Math.floorMod(hash(context, length, token), 1000) / 64f;
  }

  private static int hash(int[] context, int length, long salt) {
    long h = salt;
    for (int i = 0; i < length; i++) {
      h = (h + context[i] + 1) * 0x9E3779B97F4A7C15L;
      h ^= h >>> 29;
    }
    return (int) (h ^ h >>> 32);
  }
}
