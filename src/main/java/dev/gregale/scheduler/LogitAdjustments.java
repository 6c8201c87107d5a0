package dev.gregale.scheduler;

import dev.gregale.sampling.NoRepeatNgram;
import dev.gregale.sampling.SamplingParams;
import java.util.Arrays;
import java.util.Map;

/**
 * The vocabulary ids of one sequence whose logits are changed before drawing: how often each was
 * generated, its bias, and whether it is a stop token. A hash table from id to entry, so that each
 * id is listed once whatever it is listed for.
 */
final class LogitAdjustments {
  private static final int ONLY_PROMPT = -1;
  private static final int ONLY_BIASED = -2;

  private final boolean countsOutput;
  private int size;
  private int[] ids = new int[16];
  private int[] counts = new int[16];
  private float[] bias = new float[16];
  private boolean[] stop = new boolean[16];

  /** The length of prompt and output at which an id is banned, lest an n-gram recur. */
  private int[] bannedAt = new int[16];

  /** Open addressing; entry + 1, 0 is empty. The length is a power of two, at most half full. */
  private int[] table = new int[32];

  LogitAdjustments(SamplingParams params, int[] stopTokens, int[] promptTokens) {
    countsOutput = params.hasPenalties();
    if (params.repetitionPenalty() != 1) { // the only penalty that looks at the prompt
      for (int token : promptTokens) {
        int e = entry(token); // first, for it may replace the arrays
        counts[e] = ONLY_PROMPT;
      }
    }
    for (Map.Entry<Integer, Float> b : params.logitBias().entrySet()) {
      int e = entry(b.getKey());
      bias[e] = b.getValue();
    }
    if (params.minTokens() > 0) {
      for (int token : stopTokens) {
        int e = entry(token);
        stop[e] = true;
      }
    }
  }

  static boolean neededFor(SamplingParams params) {
    return params.hasPenalties()
        || !params.logitBias().isEmpty()
        || params.minTokens() > 0
        || params.noRepeatNgramSize() > 0;
  }

  /** Counts a generated token. */
  void count(int token) {
    if (countsOutput) {
      int e = entry(token);
      counts[e] = Math.max(counts[e], 0) + 1;
    }
  }

  /** Adds the entries that change something to the last row of a batch. */
  void appendTo(ScheduledBatch batch, Sequence sequence) {
    int length = sequence.length();
    int n = sequence.params().noRepeatNgramSize();
    if (n > 0) { // the lambdas below are what a step would allocate
      NoRepeatNgram.forEachBanned(sequence::token, length, n, id -> ban(id, length));
    }
    int numOutputTokens = sequence.numOutputTokens() + sequence.numPlaceholders();
    boolean banStopTokens = sequence.stopCriteria().bansStopTokens(numOutputTokens);
    for (int e = 0; e < size; e++) {
      boolean banned = banStopTokens && stop[e] || bannedAt[e] == length;
      float b = banned ? Float.NEGATIVE_INFINITY : bias[e];
      if (counts[e] != ONLY_BIASED || b != 0) {
        batch.addAdjustment(ids[e], counts[e], b);
      }
    }
  }

  private void ban(int id, int length) {
    int e = entry(id); // first, for it may replace the arrays
    bannedAt[e] = length;
  }

  /** The entry of an id, made if there is none. */
  private int entry(int id) {
    int at = find(id);
    if (table[at] == 0) {
      if (size == ids.length) {
        grow();
        at = find(id);
      }
      ids[size] = id;
      counts[size] = ONLY_BIASED;
      table[at] = ++size;
    }
    return table[at] - 1;
  }

  /** Where in the table an id is or would be. */
  private int find(int id) {
    int mask = table.length - 1;
    int at = (id * 0x9E3779B9) >>> 7 & mask;
    while (table[at] != 0 && ids[table[at] - 1] != id) {
      at = (at + 1) & mask;
    }
    return at;
  }

  private void grow() {
    int capacity = 2 * size;
    ids = Arrays.copyOf(ids, capacity);
    counts = Arrays.copyOf(counts, capacity);
    bias = Arrays.copyOf(bias, capacity);
    stop = Arrays.copyOf(stop, capacity);
    bannedAt = Arrays.copyOf(bannedAt, capacity);
    table = new int[2 * capacity];
    for (int e = 0; e < size; e++) {
      table[find(ids[e])] = e + 1;
    }
  }
}
