package dev.gregale.backend.cpu;

import static dev.gregale.backend.cpu.VectorMath.FLOATS;
import static dev.gregale.backend.cpu.VectorMath.LANES;

import java.util.Arrays;
import jdk.incubator.vector.FloatVector;

/**
 * The experts' feed-forward: tokens are sorted by expert, so that each expert's weights are read
 * once for all of its tokens, and every token's answers are added in the order of its own choices.
 *
 * <p>A pair is one token and one of its K experts; P = T K of them, sorted by expert.
 */
final class ExpertKernel implements WorkerPool.Task {
  /** Bounds the scratch: more tokens are taken in several passes. */
  private static final int MAX_TOKENS = 1024;

  private static final int MIN_CHUNK_ELEMENTS = 16_384;
  private static final int ELSEWHERE = -1; // the expert is another rank's

  private final WorkerPool pool;
  private final GroupedMatmul matmul;
  private final InputRounder rounder;
  private int[] expertEnds = {}; // [E]
  private int[] tokenOfPair = {}; // [P]
  private int[] pairOfChoice = {}; // [T, K]
  private float[] activated = {}; // [P, I]
  private float[] answers = {}; // [P, D]

  // The running combination.
  private float[] out = {};
  private float[] weights = {};
  private int firstToken;
  private int numTokens;
  private int numPairs;
  private int hidden;
  private int k;

  ExpertKernel(WorkerPool pool, GroupedMatmul matmul, InputRounder rounder) {
    this.pool = pool;
    this.matmul = matmul;
    this.rounder = rounder;
  }

  /**
   * See {@link dev.gregale.backend.Kernels#expertFeedForward}.
   *
   * @param expertIds {@code [rows, k]}
   * @param weights {@code [rows, k]}
   */
  void feedForward(
      float[] out,
      float[] x,
      int[] expertIds,
      float[] weights,
      int k,
      PackedMatrix gateUp,
      PackedMatrix down,
      int rows) {
    this.out = out;
    this.weights = weights;
    this.k = k;
    this.hidden = down.rows();
    grow(Math.min(rows, MAX_TOKENS) * k, gateUp.numMatrices(), down);
    float[] inputs = rounder.expertInputs(x, gateUp, rows, k);
    for (firstToken = 0; firstToken < rows; firstToken += MAX_TOKENS) {
      numTokens = Math.min(MAX_TOKENS, rows - firstToken);
      sortByExpert(expertIds);
      matmul.multiply(activated, inputs, tokenOfPair, gateUp, expertEnds);
      rounder.roundInPlace(activated, down, numPairs);
      int[] pairs = matmul.identity(numPairs);
      matmul.multiply(answers, activated, pairs, down, expertEnds);
      long chunks = (long) numTokens * k * hidden / MIN_CHUNK_ELEMENTS;
      pool.run(this, (int) Math.clamp(chunks, 1, 2L * pool.threads()));
    }
  }

  private void grow(int pairs, int numExperts, PackedMatrix down) {
    if (expertEnds.length != numExperts) {
      expertEnds = new int[numExperts];
    }
    if (tokenOfPair.length < pairs) {
      tokenOfPair = new int[pairs];
      pairOfChoice = new int[pairs];
    }
    if (activated.length < pairs * down.depth()) {
      activated = new float[Math.multiplyExact(pairs, down.depth())];
    }
    if (answers.length < pairs * hidden) {
      answers = new float[Math.multiplyExact(pairs, hidden)];
    }
  }

  /** A counting sort, stable in the order of tokens. */
  private void sortByExpert(int[] expertIds) {
    Arrays.fill(expertEnds, 0);
    int base = firstToken * k;
    int pairs = numTokens * k;
    for (int i = 0; i < pairs; i++) {
      if (expertIds[base + i] >= 0) {
        expertEnds[expertIds[base + i]]++;
      }
    }
    int start = 0;
    for (int e = 0; e < expertEnds.length; e++) {
      int count = expertEnds[e];
      expertEnds[e] = start; // advances to the end as the pairs are placed
      start += count;
    }
    numPairs = start;
    for (int i = 0; i < pairs; i++) {
      if (expertIds[base + i] < 0) {
        pairOfChoice[i] = ELSEWHERE;
        continue;
      }
      int pair = expertEnds[expertIds[base + i]]++;
      tokenOfPair[pair] = firstToken + i / k;
      pairOfChoice[i] = pair;
    }
  }

  /** out[t] = sum over t's choices of weight * answer. */
  @Override
  public void run(int chunk, int numChunks, int worker) {
    int end = (int) ((long) numTokens * (chunk + 1) / numChunks);
    for (int t = (int) ((long) numTokens * chunk / numChunks); t < end; t++) {
      int to = (firstToken + t) * hidden;
      int i = 0;
      for (; i <= hidden - LANES; i += LANES) {
        FloatVector sum = FloatVector.zero(FLOATS);
        for (int choice = 0; choice < k; choice++) {
          if (isOwn(t, choice)) {
            FloatVector answer = FloatVector.fromArray(FLOATS, answers, answerAt(t, choice) + i);
            sum = answer.fma(FloatVector.broadcast(FLOATS, weightOf(t, choice)), sum);
          }
        }
        sum.intoArray(out, to + i);
      }
      for (; i < hidden; i++) {
        float sum = 0;
        for (int choice = 0; choice < k; choice++) {
          if (isOwn(t, choice)) {
            sum = Math.fma(answers[answerAt(t, choice) + i], weightOf(t, choice), sum);
          }
        }
        out[to + i] = sum;
      }
    }
  }

  private boolean isOwn(int token, int choice) {
    return pairOfChoice[token * k + choice] != ELSEWHERE;
  }

  private int answerAt(int token, int choice) {
    return pairOfChoice[token * k + choice] * hidden;
  }

  private float weightOf(int token, int choice) {
    return weights[(firstToken + token) * k + choice];
  }
}
