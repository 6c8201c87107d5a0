// Attention of a decode step: one query token per sequence over its paged keys and values.
//
//   decode_attention_bf16_d128, _d64   Kernels.pagedAttention for batches of single tokens
//
// Legend: T tokens = sequences, H query heads, G KV heads, d head dim, S splits.
// out[t, h] = softmax(q k / sqrt(d)) v over positions max(0, len - window) to len - 1 of sequence t
// (window 0: all), len = context_lens[t], this step's token included. Cache: kv_layout.cuh.
//
// Grid (S, G, T), block 128, no dynamic shared memory. Each block takes one run of a sequence's
// positions for the H / G query heads of one KV head, its four warps groups of 16 positions in
// turn. Fragments of mma.sync m16n8k16 come straight from device memory: a lane's 16-byte load of K
// is the B fragment of two products (queries are M: 8 of 16 rows), of V it is the A fragment of two
// after a byte shuffle between neighbouring tokens (head columns are M, queries N = 8), and the
// weights are then in the right lanes as they come. 8 KB a warp in flight, 12 warps a
// multiprocessor.
//
// A run is at least min_run positions (and 64) and as many as it takes for S runs to cover len,
// read on the device, so one graph serves all lengths; runs beyond len leave at once. If there are
// several, each leaves (m, l, o) in scratch and the last to arrive adds them in ascending order:
// the same batch gives the same bits, and a row's bits depend on its length, S, min_run and the
// window, not on its batch mates.
//
// Scratch: partials T G S (H / G) (d + 2) floats; counters T G int32, zero before the first launch,
// left zero by every launch. Restrictions, checked by the caller: H / G at most 8, block size a
// multiple of 16, d 128 or 64, 16-byte aligned pointers. Tokens with slot -1 are padding: their
// rows become zero. tile_rows > 0 writes out as the token tile of the GEMM that follows
// (tiled_layout.cuh, tile_rows >= T a multiple of 16), else as rows [T, H d].
//
// Programmatic dependent launch is optional: positions before this step's are read before the wait.

#include "decode_stream.cuh"
#include "kv_layout.cuh"

namespace {

constexpr int kAttentionThreads = 128;
constexpr int kAttentionWarps = kAttentionThreads / kWarpSize;
#if __CUDA_ARCH__ >= 1000
constexpr int kAttentionBlocks = 2;  // 168 registers, what three leave, spill here
#else
constexpr int kAttentionBlocks = 3;  // a multiprocessor
#endif
constexpr int kGroup = 16;  // positions a warp takes at a time
constexpr int kMaxHeads = 8;
constexpr int kRunsAtOnce = 8;  // loaded together by the block that adds them
constexpr float kLog2E = 1.44269504f;

// What one warp, block or run knows: per query head the largest score (times log2 e), the sum of
// exponentials relative to it, and the sum of values weighted by them.
template <int kHeadDim>
struct RunResult {
  float largest[kMaxHeads];
  float total[kMaxHeads];
  float out[kMaxHeads][kHeadDim];
};

__device__ __forceinline__ uint32_t low_halves(uint32_t a, uint32_t b) {
  return __byte_perm(a, b, 0x5410);
}

__device__ __forceinline__ uint32_t high_halves(uint32_t a, uint32_t b) {
  return __byte_perm(a, b, 0x7632);
}

// One warp's share of 16 positions of one KV head.
template <int kHeadDim>
struct KvGroup {
  static constexpr int kLoads = kHeadDim / 32;  // 16-byte loads that span a key, four lanes each
  static constexpr int kPanels = kHeadDim / kTileK;
  uint4 key[2][kLoads];     // positions l / 4 and l / 4 + 8, chunk 4 i + l % 4
  uint4 value[kPanels][4];  // chunk l / 4 of the panel, positions 2 (l % 4) + {0, 1, 8, 9}

  // `cache` is the (block, kv head) run, `first` the group's first token in the block.
  __device__ __forceinline__ void load_keys(const char* run, int first, int block_size, int lane) {
#pragma unroll
    for (int half = 0; half < 2; half++) {
      const int token = first + half * 8 + lane / 4;
#pragma unroll
      for (int i = 0; i < kLoads; i++) {
        const char* panel = run + i / 2 * block_size * kRowBytes;
        key[half][i] = load_written(panel + swizzled_bytes(token, i % 2 * 4 + lane % 4));
      }
    }
  }

  // Positions from `valid` on become zero: what lies there may be anything, and 0 * NaN is NaN.
  __device__ __forceinline__ void load_values(const char* run, int first, int valid, int block_size,
                                              int lane) {
#pragma unroll
    for (int p = 0; p < kPanels; p++) {
#pragma unroll
      for (int j = 0; j < 4; j++) {
        const int position = lane % 4 * 2 + j % 2 + j / 2 * 8;
        const char* panel = run + p * block_size * kRowBytes;
        value[p][j] = position < valid
                          ? load_written(panel + swizzled_bytes(first + position, lane / 4))
                          : make_uint4(0, 0, 0, 0);
      }
    }
  }
};

// The positions of one sequence that this block takes, in groups of 16.
struct Run {
  int len;         // positions of the sequence, 0 for padding
  int first_seen;  // first position the window shows
  int start;       // first position of the first group of the sequence
  int first;       // this block's groups: first to end - 1
  int end;
  int runs;  // of the sequence

  __device__ __forceinline__ Run(int length, int window, int min_run) {
    len = length;
    first_seen = window > 0 ? max(0, len - window) : 0;
    start = first_seen / kGroup * kGroup;
    const int groups = ceil_div(len - start, kGroup);
    const int even = max(ceil_div(groups, static_cast<int>(gridDim.x)), min_run / kGroup);
    const int per_run = ceil_div(even, kAttentionWarps) * kAttentionWarps;
    runs = groups == 0 ? 0 : ceil_div(groups, per_run);
    first = blockIdx.x * per_run;
    end = min(first + per_run, groups);
  }
};

// Where 16-byte chunk `chunk` of row `token` of [T, width] goes.
__device__ __forceinline__ __nv_bfloat16* out_chunk(__nv_bfloat16* out, int token, int chunk,
                                                    int width, int tile_rows) {
  if (tile_rows == 0) {
    return out + static_cast<size_t>(token) * width + chunk * kChunk;
  }
  return out + static_cast<size_t>(chunk / kChunksPerRow) * tile_rows * kTileK +
         swizzled_bytes(token, chunk % kChunksPerRow) / 2;
}

template <int kHeadDim>
class WarpAttention {
 public:
  __device__ __forceinline__ WarpAttention(const Run& run, const __nv_bfloat16* keys,
                                           const __nv_bfloat16* values, const int* block_table,
                                           int kv_heads, int block_size)
      : run_(run),
        keys_(reinterpret_cast<const char*>(keys)),
        values_(reinterpret_cast<const char*>(values)),
        block_table_(block_table),
        kv_heads_(kv_heads),
        block_size_(block_size),
        lane_(threadIdx.x % kWarpSize) {
#pragma unroll
    for (int p = 0; p < KvGroup<kHeadDim>::kPanels; p++) {
#pragma unroll
      for (int j = 0; j < 4; j++) {
        out_[p][j][0] = out_[p][j][1] = out_[p][j][2] = out_[p][j][3] = 0.0f;
      }
    }
  }

  // Scores as exponents of two. Rows of heads that do not exist are zeros.
  __device__ __forceinline__ void load_queries(const __nv_bfloat16* queries, int heads) {
    const int head = lane_ / 4;
#pragma unroll
    for (int i = 0; i < KvGroup<kHeadDim>::kLoads; i++) {
      query_[i] = head < heads ? load_written(queries + head * kHeadDim + (4 * i + lane_ % 4) * 8)
                               : make_uint4(0, 0, 0, 0);
    }
  }

  __device__ __forceinline__ void find(int group) {
    const int position = run_.start + group * kGroup;
    const int block = block_table_[position / block_size_];
    first_ = position % block_size_;
    offset_ = (static_cast<size_t>(block) * kv_heads_ + blockIdx.y) *
              kv_block_elements(block_size_, kHeadDim) * 2;
  }
  __device__ __forceinline__ void load_keys() {
    kv_.load_keys(keys_ + offset_, first_, block_size_, lane_);
  }
  __device__ __forceinline__ void load_values(int group) {
    kv_.load_values(values_ + offset_, first_, run_.len - (run_.start + group * kGroup),
                    block_size_, lane_);
  }

  // Scores of `group`, whose keys are here; loads the keys of `next` (if below end) behind them.
  __device__ __forceinline__ void attend(int group, int next, float scale) {
    float score[2][4] = {};
#pragma unroll
    for (int half = 0; half < 2; half++) {
#pragma unroll
      for (int i = 0; i < KvGroup<kHeadDim>::kLoads; i++) {
        const uint4 k = kv_.key[half][i];
        mma_bf16(score[half], query_[i].x, 0, query_[i].y, 0, k.x, k.y);
        mma_bf16(score[half], query_[i].z, 0, query_[i].w, 0, k.z, k.w);
      }
    }
    if (next < run_.end) {
      find(next);
      load_keys();
    }
    uint32_t weight[2];
    soften(weight, score, run_.start + group * kGroup, scale);
#pragma unroll
    for (int p = 0; p < KvGroup<kHeadDim>::kPanels; p++) {
      const uint4(&v)[4] = kv_.value[p];
      const auto weigh = [&](int j, uint32_t a, uint32_t b, uint32_t c, uint32_t d) {
        mma_bf16(out_[p][j], low_halves(a, b), high_halves(a, b), low_halves(c, d),
                 high_halves(c, d), weight[0], weight[1]);
      };
      weigh(0, v[0].x, v[1].x, v[2].x, v[3].x);
      weigh(1, v[0].y, v[1].y, v[2].y, v[3].y);
      weigh(2, v[0].z, v[1].z, v[2].z, v[3].z);
      weigh(3, v[0].w, v[1].w, v[2].w, v[3].w);
    }
    if (next < run_.end) {
      load_values(next);
    }
  }

  // Rows l / 4 and l / 4 + 8 of product (panel p, j) are head columns 64 p + 8 (l / 4) + 2 j and
  // the next; its columns are query heads.
  __device__ __forceinline__ void store(RunResult<kHeadDim>& to, int heads) {
    total_ += __shfl_xor_sync(kAllLanes, total_, 1);
    total_ += __shfl_xor_sync(kAllLanes, total_, 2);
    if (lane_ % 4 == 0 && lane_ / 4 < heads) {
      to.largest[lane_ / 4] = largest_;
      to.total[lane_ / 4] = total_;
    }
#pragma unroll
    for (int c = 0; c < 2; c++) {
      const int head = lane_ % 4 * 2 + c;
      if (head < heads) {
#pragma unroll
        for (int p = 0; p < KvGroup<kHeadDim>::kPanels; p++) {
          float* column = &to.out[head][p * kTileK + lane_ / 4 * 8];
#pragma unroll
          for (int j = 0; j < 4; j += 2) {
            *reinterpret_cast<float4*>(column + 2 * j) = make_float4(
                out_[p][j][c], out_[p][j][2 + c], out_[p][j + 1][c], out_[p][j + 1][2 + c]);
          }
        }
      }
    }
  }

 private:
  // Scores to weights relative to the largest so far; what was summed before shrinks to match.
  __device__ __forceinline__ void soften(uint32_t (&weight)[2], float (&score)[2][4], int first,
                                         float scale) {
    float largest = largest_;
#pragma unroll
    for (int half = 0; half < 2; half++) {
#pragma unroll
      for (int c = 0; c < 2; c++) {
        const int position = first + half * 8 + lane_ % 4 * 2 + c;
        const bool seen = position >= run_.first_seen && position < run_.len;
        score[half][c] = seen ? score[half][c] * scale : -INFINITY;
        largest = fmaxf(largest, score[half][c]);
      }
    }
    largest = fmaxf(largest, __shfl_xor_sync(kAllLanes, largest, 1));
    largest = fmaxf(largest, __shfl_xor_sync(kAllLanes, largest, 2));
    const float shrink = exp2f(largest_ - largest);  // every group shows a position: no inf - inf
    largest_ = largest;
    total_ *= shrink;
#pragma unroll
    for (int half = 0; half < 2; half++) {
      const float a = exp2f(score[half][0] - largest);
      const float b = exp2f(score[half][1] - largest);
      total_ += a + b;
      const __nv_bfloat162 pair = __floats2bfloat162_rn(a, b);
      weight[half] = *reinterpret_cast<const uint32_t*>(&pair);
    }
    const float shrink0 = __shfl_sync(kAllLanes, shrink, lane_ % 4 * 8);      // of heads 2 (l % 4)
    const float shrink1 = __shfl_sync(kAllLanes, shrink, lane_ % 4 * 8 + 4);  // and the next
#pragma unroll
    for (int p = 0; p < KvGroup<kHeadDim>::kPanels; p++) {
#pragma unroll
      for (int j = 0; j < 4; j++) {
        out_[p][j][0] *= shrink0;
        out_[p][j][1] *= shrink1;
        out_[p][j][2] *= shrink0;
        out_[p][j][3] *= shrink1;
      }
    }
  }

  const Run& run_;
  const char* keys_;
  const char* values_;
  const int* block_table_;
  const int kv_heads_;
  const int block_size_;
  const int lane_;
  int first_ = 0;      // token in the block
  size_t offset_ = 0;  // bytes to the (block, kv head) run
  float largest_ = -INFINITY;
  float total_ = 0.0f;
  uint4 query_[KvGroup<kHeadDim>::kLoads];
  KvGroup<kHeadDim> kv_;
  float out_[KvGroup<kHeadDim>::kPanels][4][4];
};

// The factor of a part whose largest score is `part` when the overall one is `largest`.
__device__ __forceinline__ float share_of(float part, float largest) {
  return part == -INFINITY ? 0.0f : exp2f(part - largest);
}

__device__ __forceinline__ void add_scaled(float4& sum, const float4& v, float factor) {
  sum.x += v.x * factor, sum.y += v.y * factor, sum.z += v.z * factor, sum.w += v.w * factor;
}

__device__ __forceinline__ void store_out(__nv_bfloat16* to, float4 v, float factor) {
  __nv_bfloat162 pair[2] = {__floats2bfloat162_rn(v.x * factor, v.y * factor),
                            __floats2bfloat162_rn(v.z * factor, v.w * factor)};
  *reinterpret_cast<uint2*>(to) = *reinterpret_cast<const uint2*>(pair);
}

template <int kHeadDim>
__device__ __forceinline__ void attention(__nv_bfloat16* out, float* partials, int* counters,
                                          const __nv_bfloat16* queries, const __nv_bfloat16* keys,
                                          const __nv_bfloat16* values, const int* context_lens,
                                          const int* slots, const int* block_tables, int max_blocks,
                                          int query_stride, int heads, int kv_heads, int block_size,
                                          int window, int min_run, float scale, int tile_rows) {
  constexpr int kQuads = kHeadDim / 4;
  __shared__ RunResult<kHeadDim> warps[kAttentionWarps];
  __shared__ bool last;
  const int token = blockIdx.z;
  const int group_heads = heads / kv_heads;
  const int warp = threadIdx.x / kWarpSize;
  const int width = heads * kHeadDim;
  const int first_head = blockIdx.y * group_heads;
  const Run run(slots[token] < 0 ? 0 : context_lens[token], window, min_run);
  const auto out_at = [&](int head, int quad) {
    const int column = (first_head + head) * kHeadDim + quad * 4;
    return out_chunk(out, token, column / kChunk, width, tile_rows) + column % kChunk;
  };
  WarpAttention<kHeadDim> attention(run, keys, values,
                                    block_tables + static_cast<size_t>(token) * max_blocks,
                                    kv_heads, block_size);
  int group = run.first + warp;
  // The group with this step's token is being written until the wait is over.
  const int newest = (run.len - 1 - run.start) / kGroup;
  const bool early = group < run.end && group != newest;
  if (group < run.end) {
    attention.find(group);
  }
  if (early) {
    attention.load_keys();
    attention.load_values(group);
  }
  wait_for_predecessor();
  release_successor();
  if (run.runs == 0 && blockIdx.x == 0) {
    for (int i = threadIdx.x; i < group_heads * kQuads; i += kAttentionThreads) {
      store_out(out_at(i / kQuads, i % kQuads), make_float4(0, 0, 0, 0), 0.0f);
    }
  }
  if (static_cast<int>(blockIdx.x) >= run.runs) {
    return;
  }
  attention.load_queries(
      queries + static_cast<size_t>(token) * query_stride + first_head * kHeadDim, group_heads);
  if (group < run.end && !early) {
    attention.load_keys();
    attention.load_values(group);
  }
  for (; group < run.end; group += kAttentionWarps) {
    attention.attend(group, group + kAttentionWarps, scale * kLog2E);
  }
  attention.store(warps[warp], group_heads);
  __syncthreads();

  // The block's warps, in ascending order.
  const size_t runs_before = (static_cast<size_t>(token) * kv_heads + blockIdx.y) * gridDim.x;
  const int head_floats = kHeadDim + 2;
  const auto partial_at = [&](int split, int head) {
    return partials + ((runs_before + split) * group_heads + head) * head_floats;
  };
  for (int i = threadIdx.x; i < group_heads * kQuads; i += kAttentionThreads) {
    const int head = i / kQuads;
    const int quad = i % kQuads;
    float largest = warps[0].largest[head];
#pragma unroll
    for (int w = 1; w < kAttentionWarps; w++) {
      largest = fmaxf(largest, warps[w].largest[head]);
    }
    float total = 0.0f;
    float4 sum = make_float4(0, 0, 0, 0);
#pragma unroll
    for (int w = 0; w < kAttentionWarps; w++) {
      const float share = share_of(warps[w].largest[head], largest);
      total += warps[w].total[head] * share;
      add_scaled(sum, *reinterpret_cast<const float4*>(&warps[w].out[head][quad * 4]), share);
    }
    if (run.runs == 1) {
      store_out(out_at(head, quad), sum, 1.0f / total);
    } else {
      float* partial = partial_at(blockIdx.x, head);
      reinterpret_cast<float2*>(partial + 2 + quad * 4)[0] = make_float2(sum.x, sum.y);
      reinterpret_cast<float2*>(partial + 2 + quad * 4)[1] = make_float2(sum.z, sum.w);
      if (quad == 0) {
        *reinterpret_cast<float2*>(partial) = make_float2(largest, total);
      }
    }
  }
  if (run.runs == 1) {
    return;
  }

  // The sequence's runs, by the last block to arrive.
  __threadfence();
  __syncthreads();
  if (threadIdx.x == 0) {
    int* counter = counters + token * kv_heads + blockIdx.y;
    last = atomicAdd(counter, 1) == run.runs - 1;
    if (last) {
      *counter = 0;
    }
    __threadfence();
  }
  __syncthreads();
  if (!last) {
    return;
  }
  for (int i = threadIdx.x; i < group_heads * kQuads; i += kAttentionThreads) {
    const int head = i / kQuads;
    const int quad = i % kQuads;
    float largest = -INFINITY;
    float total = 0.0f;
    float4 sum = make_float4(0, 0, 0, 0);
    for (int first = 0; first < run.runs; first += kRunsAtOnce) {
      float2 about[kRunsAtOnce];
      float4 v[kRunsAtOnce];
#pragma unroll
      for (int i = 0; i < kRunsAtOnce; i++) {
        const float* partial = partial_at(min(first + i, run.runs - 1), head);
        about[i] = __ldcg(reinterpret_cast<const float2*>(partial));
        const float2 low = __ldcg(reinterpret_cast<const float2*>(partial + 2 + quad * 4));
        const float2 high = __ldcg(reinterpret_cast<const float2*>(partial + 4 + quad * 4));
        v[i] = make_float4(low.x, low.y, high.x, high.y);
      }
      float now = largest;
#pragma unroll
      for (int i = 0; i < kRunsAtOnce; i++) {
        now = fmaxf(now, about[i].x);
      }
      const float shrink = share_of(largest, now);
      total *= shrink;
      sum = make_float4(sum.x * shrink, sum.y * shrink, sum.z * shrink, sum.w * shrink);
      largest = now;
#pragma unroll
      for (int i = 0; i < kRunsAtOnce; i++) {
        if (first + i < run.runs) {
          const float share = share_of(about[i].x, largest);
          total += about[i].y * share;
          add_scaled(sum, v[i], share);
        }
      }
    }
    store_out(out_at(head, quad), sum, 1.0f / total);
  }
}

}  // namespace

#define GREGALE_DECODE_ATTENTION(d)                                                               \
  extern "C" __global__ void __launch_bounds__(kAttentionThreads, kAttentionBlocks)               \
      decode_attention_bf16_d##d(__nv_bfloat16* out,           /* [T, H d] rows or token tile */  \
                                 float* partials,              /* scratch */                      \
                                 int* counters,                /* [T, G], zero */                 \
                                 const __nv_bfloat16* queries, /* [T, H d], query_stride a row */ \
                                 const __nv_bfloat16* keys,    /* cache */                        \
                                 const __nv_bfloat16* values,  /* cache */                        \
                                 const int* context_lens,      /* [T] */                          \
                                 const int* slots,             /* [T] */                          \
                                 const int* block_tables,      /* [T, max_blocks] */              \
                                 float scale,                  /* of scores: 1 / sqrt(d) */       \
                                 int max_blocks, int query_stride, int heads, int kv_heads,       \
                                 int block_size, int window, int min_run, int tile_rows) {        \
    attention<d>(out, partials, counters, queries, keys, values, context_lens, slots,             \
                 block_tables, max_blocks, query_stride, heads, kv_heads, block_size, window,     \
                 min_run, scale, tile_rows);                                                      \
  }

GREGALE_DECODE_ATTENTION(128)
GREGALE_DECODE_ATTENTION(64)
