package dev.gregale.backend.cpu;

import static dev.gregale.backend.cpu.CpuTensor.ints;
import static dev.gregale.backend.cpu.VectorMath.LANES;
import static java.util.Objects.requireNonNull;

import dev.gregale.backend.AttentionShape;
import dev.gregale.backend.ForwardBatch;
import dev.gregale.tensor.DType;
import java.util.Arrays;
import org.jspecify.annotations.Nullable;

/**
 * Attention of each token over its sequence's cached positions. A unit of work is one token and one
 * KV head with all its query heads, so that they share what is read of the cache. Each step runs in
 * the order of positions or dimensions whatever the batch, so a token gets the same bits in a
 * prefill and in a decode.
 *
 * <p>Scratch is indexed by place: positions as they lie in padded blocks, from the start of the
 * first block that is visible.
 */
final class AttentionKernel implements WorkerPool.Task {
  private static final int HEADS = 4;
  private static final int SCORED = 4 * LANES;
  private static final int SUMMED = 2 * LANES;
  private static final int CHUNKS_PER_THREAD = 16;
  private static final long MIN_CHUNK_WORK = 100_000; // multiply-adds

  private final WorkerPool pool;
  private final float[][] scores; // per thread: [query heads of a group, places]
  private final float[][] sums; // per thread: [query heads of a group, padded d]

  private float[] out = {};
  private float[] qkv = {};
  private @Nullable VectorKvLayer kv;
  private @Nullable AttentionShape shape;
  private int[] contextLens = {};
  private int[] cuSeqLens = {};
  private int[] blockTables = {};
  private int maxBlocksPerSeq;
  private int[] sequenceOf = {}; // [T]
  private int numTokens;
  private int scoreStride;

  AttentionKernel(WorkerPool pool) {
    this.pool = pool;
    this.scores = new float[pool.threads()][0];
    this.sums = new float[pool.threads()][0];
  }

  /** See {@link dev.gregale.backend.Kernels#pagedAttention}. */
  void attend(
      float[] out, float[] qkv, VectorKvLayer kv, AttentionShape shape, ForwardBatch batch) {
    this.out = out;
    this.qkv = qkv;
    this.kv = kv;
    this.shape = shape;
    contextLens = ints(batch.contextLens());
    cuSeqLens = ints(batch.cuSeqLens());
    blockTables = ints(batch.blockTables());
    maxBlocksPerSeq = batch.blockTables().shape().intDim(1);
    numTokens = cuSeqLens[batch.numSeqs()]; // padding rows are no sequence's
    if (sequenceOf.length < numTokens) {
      sequenceOf = new int[numTokens];
    }
    long positions = 0;
    int longest = 0;
    for (int s = 0; s < batch.numSeqs(); s++) {
      Arrays.fill(sequenceOf, cuSeqLens[s], cuSeqLens[s + 1], s);
      longest = Math.max(longest, contextLens[s]);
      positions += (long) contextLens[s] * (cuSeqLens[s + 1] - cuSeqLens[s]);
    }
    growScratch(kv, shape, longest);
    long worthwhile = positions * shape.numHeads() * shape.headDim() * 2 / MIN_CHUNK_WORK;
    long units = (long) numTokens * shape.numKvHeads();
    if (units > 0) {
      long most = Math.min(units, (long) CHUNKS_PER_THREAD * pool.threads());
      pool.run(this, (int) Math.clamp(worthwhile, 1, most));
    }
  }

  private void growScratch(VectorKvLayer kv, AttentionShape shape, int longest) {
    int blocks = Math.ceilDiv(longest, kv.blockSize());
    scoreStride = blocks * kv.paddedBlock() + SCORED;
    int heads = Math.ceilDiv(shape.numHeads() / shape.numKvHeads(), HEADS) * HEADS;
    if (scores[0].length < heads * scoreStride) {
      Arrays.setAll(scores, i -> new float[heads * scoreStride * 3 / 2]);
    }
    if (sums[0].length < heads * kv.paddedDim()) {
      Arrays.setAll(sums, i -> new float[heads * kv.paddedDim()]);
    }
  }

  /** Later tokens first: they see more, and a long chunk that starts last keeps all waiting. */
  @Override
  public void run(int chunk, int numChunks, int worker) {
    int groups = requireNonNull(shape).numKvHeads();
    long units = (long) numTokens * groups;
    long end = units - units * chunk / numChunks;
    for (long unit = units - units * (chunk + 1) / numChunks; unit < end; unit++) {
      attend((int) (unit / groups), (int) (unit % groups), scores[worker], sums[worker]);
    }
  }

  private void attend(int token, int kvHead, float[] scores, float[] sums) {
    AttentionShape shape = requireNonNull(this.shape);
    VectorKvLayer kv = requireNonNull(this.kv);
    int d = shape.headDim();
    int heads = shape.numHeads() / shape.numKvHeads();
    int sequence = sequenceOf[token];
    int last = contextLens[sequence] - cuSeqLens[sequence + 1] + token;
    int first = shape.firstVisible(last);
    int firstBlock = first / kv.blockSize();
    int table = sequence * maxBlocksPerSeq + firstBlock;
    int from = first % kv.blockSize();
    int lastInBlocks = last - firstBlock * kv.blockSize();
    int to = lastInBlocks / kv.blockSize() * kv.paddedBlock() + lastInBlocks % kv.blockSize() + 1;
    int query = token * shape.qkvWidth() + kvHead * heads * d;
    score(kv, table, kvHead, from, to, query, heads, d, scores);
    Arrays.fill(sums, 0, heads * kv.paddedDim(), 0);
    for (int head = 0; head < heads; head++) {
      int at = head * scoreStride;
      hidePadding(kv, scores, at, to);
      Softmax.softmax(scores, at, from, to, shape.scale());
    }
    weigh(kv, table, kvHead, from, to, heads, scores, sums);
    for (int head = 0; head < heads; head++) {
      int o = (token * shape.numHeads() + kvHead * heads + head) * d;
      System.arraycopy(sums, head * kv.paddedDim(), out, o, d);
    }
  }

  /** Scores of all vectors that hold a place in [from, to). */
  private void score(
      VectorKvLayer kv,
      int table,
      int kvHead,
      int from,
      int to,
      int query,
      int heads,
      int d,
      float[] scores) {
    boolean bf16 = kv.dtype() == DType.BF16;
    int lastVector = (to - 1) / LANES;
    for (int v = from / LANES; v <= lastVector; v += 4) {
      long k0 = keyVector(kv, table, kvHead, v);
      long k1 = keyVector(kv, table, kvHead, Math.min(v + 1, lastVector));
      long k2 = keyVector(kv, table, kvHead, Math.min(v + 2, lastVector));
      long k3 = keyVector(kv, table, kvHead, Math.min(v + 3, lastVector));
      for (int head = 0; head < heads; head += HEADS) {
        int at = head * scoreStride + v * LANES;
        int q = query + head * d;
        int more = Math.min(HEADS, heads - head) - 1;
        if (more == 0) {
          AttentionTiles.score1(
              kv.keys(), k0, k1, k2, k3, kv.keyStride(), bf16, qkv, q, d, scores, at);
        } else {
          int q1 = q + d;
          int q2 = q + Math.min(2, more) * d;
          int q3 = q + more * d;
          AttentionTiles.score4(
              kv.keys(),
              k0,
              k1,
              k2,
              k3,
              kv.keyStride(),
              bf16,
              qkv,
              q,
              q1,
              q2,
              q3,
              d,
              scores,
              at,
              scoreStride);
        }
      }
    }
  }

  private long keyVector(VectorKvLayer kv, int table, int kvHead, int vector) {
    int place = vector * LANES;
    int block = blockTables[table + place / kv.paddedBlock()];
    int offset = place % kv.paddedBlock() * kv.dtype().bytes();
    return kv.keyStart(block, kvHead) + offset;
  }

  /** Where a block is shorter than its padding, the places between are no positions. */
  private static void hidePadding(VectorKvLayer kv, float[] scores, int at, int to) {
    if (kv.blockSize() < kv.paddedBlock()) {
      for (int end = kv.paddedBlock(); end < to; end += kv.paddedBlock()) {
        int padding = kv.paddedBlock() - kv.blockSize();
        Arrays.fill(scores, at + end - padding, at + end, Float.NEGATIVE_INFINITY);
      }
    }
  }

  /** Sums values in the order of positions. Never reads a slot that is not the sequence's own. */
  private void weigh(
      VectorKvLayer kv,
      int table,
      int kvHead,
      int from,
      int to,
      int heads,
      float[] scores,
      float[] sums) {
    boolean bf16 = kv.dtype() == DType.BF16;
    int stride = kv.valueStride();
    int width = kv.paddedDim();
    for (int start = 0; start < to; start += kv.paddedBlock()) {
      int begin = Math.max(from, start);
      int count = Math.min(to, start + kv.blockSize()) - begin;
      int block = blockTables[table + start / kv.paddedBlock()];
      long values = kv.valueStart(block, kvHead) + (long) (begin - start) * stride;
      for (int head = 0; head < heads; head += HEADS) {
        int p = head * scoreStride + begin;
        for (int i = 0; i < width; i += SUMMED) {
          long here = values + (long) i * kv.dtype().bytes();
          int at = head * width + i;
          if (heads - head == 1) {
            AttentionTiles.weigh1(kv.values(), here, stride, bf16, count, scores, p, sums, at);
          } else {
            AttentionTiles.weigh4(
                kv.values(), here, stride, bf16, count, scores, p, scoreStride, sums, at, width);
          }
        }
      }
    }
  }
}
