package dev.gregale.backend.cpu;

import static dev.gregale.backend.cpu.CpuTensor.ints;
import static dev.gregale.backend.cpu.VectorMath.LANES;
import static java.util.Objects.requireNonNull;

import dev.gregale.backend.AttentionShape;
import dev.gregale.backend.ForwardBatch;
import dev.gregale.tensor.DType;
import java.lang.foreign.MemorySegment;
import java.util.Arrays;
import org.jspecify.annotations.Nullable;

/**
 * Attention of each token over its sequence's cached positions. A unit of work is one token and one
 * KV head with all its query heads, so that they share what is read of the cache. Each step runs in
 * the order of positions or dimensions whatever the batch, so a token gets the same bits in a
 * prefill and in a decode.
 *
 * <p>Scores are indexed by place, as in {@link KvPlaces}.
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
  private final KvPlaces[] places; // per thread
  private final WidenedKv[] widened; // per thread: of a cache of codes
  private final KvView[] views; // per thread

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
    this.places = new KvPlaces[pool.threads()];
    Arrays.setAll(places, i -> new KvPlaces());
    this.widened = new WidenedKv[pool.threads()];
    Arrays.setAll(widened, i -> new WidenedKv());
    this.views = new KvView[pool.threads()];
    Arrays.setAll(views, i -> new KvView());
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
    for (KvPlaces known : places) {
      known.clear(); // a batch's sequences are others than the last one's
    }
    for (WidenedKv known : widened) {
      known.clear();
    }
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
    boolean coded = requireNonNull(kv).dtype() == DType.F8_E4M3;
    long units = (long) numTokens * groups;
    long end = units - units * chunk / numChunks;
    for (long unit = units - units * (chunk + 1) / numChunks; unit < end; unit++) {
      if (coded) { // token after token of a head, which share what is widened
        attend((int) (unit % numTokens), (int) (unit / numTokens), worker);
      } else {
        attend((int) (unit / groups), (int) (unit % groups), worker);
      }
    }
  }

  private void attend(int token, int kvHead, int worker) {
    AttentionShape shape = requireNonNull(this.shape);
    VectorKvLayer kv = requireNonNull(this.kv);
    int sequence = sequenceOf[token];
    int last = contextLens[sequence] - cuSeqLens[sequence + 1] + token;
    int from = KvPlaces.placeOf(kv, shape.firstVisible(last));
    int to = KvPlaces.placeOf(kv, last) + 1;
    KvPlaces places = this.places[worker];
    places.locate(kv, sequence, blockTables, sequence * maxBlocksPerSeq, contextLens[sequence]);
    int d = shape.headDim();
    int heads = shape.numHeads() / shape.numKvHeads();
    int query = token * shape.qkvWidth() + kvHead * heads * d;
    float[] scores = this.scores[worker];
    float[] sums = this.sums[worker];
    KvView view = view(kv, places, worker, sequence, kvHead, from, to);
    score(view, d, from, to, query, heads, scores);
    for (int head = 0; head < heads; head++) {
      int at = head * scoreStride;
      hidePadding(kv, scores, at, from, to);
      Softmax.softmax(scores, at, from, to, shape.scale());
    }
    weigh(view, kv.paddedDim(), from, to, heads, scores, sums);
    int o = (token * shape.numHeads() + kvHead * heads) * d;
    for (int head = 0; head < heads; head++) {
      System.arraycopy(sums, head * kv.paddedDim(), out, o + head * d, d);
    }
  }

  private KvView view(
      VectorKvLayer kv, KvPlaces places, int worker, int sequence, int kvHead, int from, int to) {
    KvView view = views[worker];
    if (kv.dtype() == DType.F8_E4M3) {
      WidenedKv widened = this.widened[worker];
      widened.cover(kv, places, sequence, kvHead, from, to);
      view.show(widened);
    } else {
      view.show(kv, places, kvHead);
    }
    return view;
  }

  /** Scores of all vectors that hold a place in [from, to). */
  private void score(KvView view, int d, int from, int to, int query, int heads, float[] scores) {
    MemorySegment keys = view.keys();
    long[] keyAt = view.keyAt();
    long ofHead = view.keyOfHead();
    int stride = view.keyStride();
    boolean bf16 = view.bf16();
    int end = (to - 1) / LANES;
    for (int v = from / LANES; v <= end; v += 4) {
      long k0 = keyAt[v] + ofHead;
      long k1 = keyAt[Math.min(v + 1, end)] + ofHead;
      long k2 = keyAt[Math.min(v + 2, end)] + ofHead;
      long k3 = keyAt[Math.min(v + 3, end)] + ofHead;
      for (int head = 0; head < heads; head += HEADS) {
        int at = head * scoreStride + v * LANES;
        int q = query + head * d;
        int more = Math.min(HEADS, heads - head) - 1;
        if (more == 0) {
          AttentionTiles.score1(keys, k0, k1, k2, k3, stride, bf16, qkv, q, d, scores, at);
        } else {
          int q2 = q + Math.min(2, more) * d;
          int q3 = q + more * d;
          AttentionTiles.score4(
              keys,
              k0,
              k1,
              k2,
              k3,
              stride,
              bf16,
              qkv,
              q,
              q + d,
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

  /** Where a block is shorter than its padding, the places between are no positions. */
  private static void hidePadding(VectorKvLayer kv, float[] scores, int at, int from, int to) {
    int padding = kv.paddedBlock() - kv.blockSize();
    if (padding > 0) {
      int end = (from / kv.paddedBlock() + 1) * kv.paddedBlock();
      for (; end < to; end += kv.paddedBlock()) {
        Arrays.fill(scores, at + end - padding, at + end, Float.NEGATIVE_INFINITY);
      }
    }
  }

  /** Sums values in the order of positions. Never reads a slot that is not the sequence's own. */
  private void weigh(
      KvView view, int width, int from, int to, int heads, float[] scores, float[] sums) {
    MemorySegment values = view.values();
    long[] valueAt = view.valueAt();
    boolean bf16 = view.bf16();
    int bytes = bf16 ? Short.BYTES : Float.BYTES;
    for (int head = 0; head < heads; head += HEADS) {
      int at = head * scoreStride;
      for (int i = 0; i < width; i += SUMMED) {
        long base = view.valueOfHead() + (long) i * bytes;
        int sum = head * width + i;
        if (heads - head == 1) {
          AttentionTiles.weigh1(values, base, valueAt, bf16, from, to, scores, at, sums, sum);
        } else {
          AttentionTiles.weigh4(
              values, base, valueAt, bf16, from, to, scores, at, scoreStride, sums, sum, width);
        }
      }
    }
  }
}
