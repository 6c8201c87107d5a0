// Attention of a decode step over a cache in bf16 or FP8; what it does and how it is launched stands in
// kernels/decode_attention.cu.
#pragma once

#include "decode_tokens.cuh"
#include "kv_codes.cuh"
#include "kv_layout.cuh"

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

// A warp's share of 16 positions of one KV head, of a cache in bf16. Groups of a kind have the same
// functions: where a (block, kv head) lies, loads of keys and values, the scores of the queries, and
// the values weighed. What `out` has in product m and which column of the head that is, column_of
// tells.
template <int kHeadDim>
class Bf16Group {
 public:
  static constexpr int kProducts = kHeadDim / 16;
  static constexpr int kLoads = kHeadDim / 32;  // 16-byte loads that span a key, four lanes each
  static constexpr int kPanels = kHeadDim / kTileK;

  struct Cache {
    const char* keys;
    const char* values;
  };
  struct Query {
    uint4 of[kLoads];
  };

  // First of the columns that the lane has in products m and m + 1, m even.
  static __device__ __forceinline__ int column_of(int m, int lane) {
    return m / 4 * kTileK + lane / 4 * 8 + m % 4 * 2;
  }

  static __device__ __forceinline__ void load_query(Query& query, const __nv_bfloat16* head,
                                                    bool exists, int lane) {
#pragma unroll
    for (int i = 0; i < kLoads; i++) {
      query.of[i] =
          exists ? load_written(head + (4 * i + lane % 4) * 8) : make_uint4(0, 0, 0, 0);
    }
  }

  // run: of the (block, kv head); first: the group's first token in the block.
  __device__ __forceinline__ void find(size_t run, int first, int block_size) {
    offset_ = run * kv_block_elements(block_size, kHeadDim) * 2;
    first_ = first;
    block_size_ = block_size;
  }

  // Positions l / 4 and l / 4 + 8, chunk 4 i + l % 4.
  __device__ __forceinline__ void load_keys(const Cache& cache, int lane) {
#pragma unroll
    for (int half = 0; half < 2; half++) {
      const int token = first_ + half * 8 + lane / 4;
#pragma unroll
      for (int i = 0; i < kLoads; i++) {
        const char* panel = cache.keys + offset_ + i / 2 * block_size_ * kRowBytes;
        key_[half][i] = load_written(panel + swizzled_bytes(token, i % 2 * 4 + lane % 4));
      }
    }
  }

  // Chunk l / 4 of the panel, positions 2 (l % 4) + {0, 1, 8, 9}. Positions from `valid` on become
  // zero: what lies there may be anything, and 0 * NaN is NaN.
  __device__ __forceinline__ void load_values(const Cache& cache, int valid, int lane) {
#pragma unroll
    for (int p = 0; p < kPanels; p++) {
#pragma unroll
      for (int j = 0; j < 4; j++) {
        const int position = lane % 4 * 2 + j % 2 + j / 2 * 8;
        const char* panel = cache.values + offset_ + p * block_size_ * kRowBytes;
        value_[p][j] = position < valid
                           ? load_written(panel + swizzled_bytes(first_ + position, lane / 4))
                           : make_uint4(0, 0, 0, 0);
      }
    }
  }

  __device__ __forceinline__ void score(float (&score)[2][4], const Query& query) const {
#pragma unroll
    for (int half = 0; half < 2; half++) {
#pragma unroll
      for (int i = 0; i < kLoads; i++) {
        const uint4 k = key_[half][i];
        mma_bf16(score[half], query.of[i].x, 0, query.of[i].y, 0, k.x, k.y);
        mma_bf16(score[half], query.of[i].z, 0, query.of[i].w, 0, k.z, k.w);
      }
    }
  }

  // What a weight is multiplied by before it meets its value, here and below.
  __device__ __forceinline__ float value_scale(int, int) const { return 1.0f; }

  __device__ __forceinline__ void weigh(float (&out)[kProducts][4],
                                        const uint32_t (&weight)[2]) const {
#pragma unroll
    for (int p = 0; p < kPanels; p++) {
      const uint4(&v)[4] = value_[p];
      const auto product = [&](int j, uint32_t a, uint32_t b, uint32_t c, uint32_t d) {
        mma_bf16(out[4 * p + j], low_halves(a, b), high_halves(a, b), low_halves(c, d),
                 high_halves(c, d), weight[0], weight[1]);
      };
      product(0, v[0].x, v[1].x, v[2].x, v[3].x);
      product(1, v[0].y, v[1].y, v[2].y, v[3].y);
      product(2, v[0].z, v[1].z, v[2].z, v[3].z);
      product(3, v[0].w, v[1].w, v[2].w, v[3].w);
    }
  }

 private:
  size_t offset_ = 0;  // bytes to the (block, kv head) run
  int first_ = 0;
  int block_size_ = 0;
  uint4 key_[2][kLoads];
  uint4 value_[kPanels][4];
};

// The same of a cache in FP8 (kv_codes.cuh). Codes become bf16 in registers; scales of keys go to
// scores, those of values to weights, in fp32.
template <int kHeadDim>
class Fp8Group {
 public:
  static constexpr int kProducts = kHeadDim / 16;
  static constexpr int kLoads = kHeadDim / 64;  // of 16 codes each, four lanes a key
  static_assert(kHeadDim == 128, "eight lanes of 16 codes span a value");

  struct Cache {
    const char* keys;
    const char* values;
    const float* key_scales;
    const float* value_scales;
  };
  struct Query {
    uint32_t of[kLoads][4][2];  // columns 0 and 2, 1 and 3 of four
  };

  static __device__ __forceinline__ int column_of(int m, int lane) {
    return lane / 4 * 16 + m * 2;
  }

  static __device__ __forceinline__ void load_query(Query& query, const __nv_bfloat16* head,
                                                    bool exists, int lane) {
#pragma unroll
    for (int i = 0; i < kLoads; i++) {
#pragma unroll
      for (int j = 0; j < 2; j++) {
        const uint4 q = exists ? load_written(head + (4 * i + lane % 4) * 16 + j * 8)
                               : make_uint4(0, 0, 0, 0);
        query.of[i][2 * j][0] = low_halves(q.x, q.y), query.of[i][2 * j][1] = high_halves(q.x, q.y);
        query.of[i][2 * j + 1][0] = low_halves(q.z, q.w);
        query.of[i][2 * j + 1][1] = high_halves(q.z, q.w);
      }
    }
  }

  __device__ __forceinline__ void find(size_t run, int first, int block_size) {
    token_ = static_cast<int>(run) * block_size + first;
  }

  __device__ __forceinline__ void load_keys(const Cache& cache, int lane) {
#pragma unroll
    for (int half = 0; half < 2; half++) {
#pragma unroll
      for (int i = 0; i < kLoads; i++) {
        key_[half][i] = load_written(cache.keys + static_cast<size_t>(token_ + half * 8 + lane / 4) * kHeadDim +
                                     (4 * i + lane % 4) * 16);
      }
      key_scale_[half] = load_pair(cache.key_scales + token_ + half * 8 + lane % 4 * 2);
    }
  }

  // Whatever lies behind a sequence's end is finite: codes here are never NaN, nor are scales.
  __device__ __forceinline__ void load_values(const Cache& cache, int, int lane) {
#pragma unroll
    for (int j = 0; j < 4; j++) {
      const int position = lane % 4 * 2 + j % 2 + j / 2 * 8;
      value_[j] = load_written(cache.values + static_cast<size_t>(token_ + position) * kHeadDim +
                               lane / 4 * 16);
    }
#pragma unroll
    for (int half = 0; half < 2; half++) {
      value_scale_[half] = load_pair(cache.value_scales + token_ + half * 8 + lane % 4 * 2);
    }
  }

  __device__ __forceinline__ void score(float (&score)[2][4], const Query& query) const {
#pragma unroll
    for (int half = 0; half < 2; half++) {
#pragma unroll
      for (int i = 0; i < kLoads; i++) {
        const uint32_t codes[4] = {key_[half][i].x, key_[half][i].y, key_[half][i].z,
                                   key_[half][i].w};
#pragma unroll
        for (int j = 0; j < 4; j++) {
          mma_bf16(score[half], query.of[i][j][0], 0, query.of[i][j][1], 0,
                   even_codes(codes[j], kCodeFactor), odd_codes(codes[j], kCodeFactor));
        }
      }
      score[half][0] *= key_scale_[half].x;
      score[half][1] *= key_scale_[half].y;
    }
  }

  __device__ __forceinline__ float value_scale(int half, int c) const {
    return c == 0 ? value_scale_[half].x : value_scale_[half].y;
  }

  // Words of two positions, four columns each, make two products: columns 0, 1 and columns 2, 3.
  __device__ __forceinline__ void weigh(float (&out)[kProducts][4],
                                        const uint32_t (&weight)[2]) const {
    const auto product = [&](int m, uint32_t a, uint32_t b, uint32_t c, uint32_t d) {
      const uint32_t first[2] = {low_halves(a, b), low_halves(c, d)};
      const uint32_t second[2] = {high_halves(a, b), high_halves(c, d)};
      mma_bf16(out[m], even_codes(first[0], kCodeFactor), odd_codes(first[0], kCodeFactor),
               even_codes(first[1], kCodeFactor), odd_codes(first[1], kCodeFactor), weight[0],
               weight[1]);
      mma_bf16(out[m + 1], even_codes(second[0], kCodeFactor), odd_codes(second[0], kCodeFactor),
               even_codes(second[1], kCodeFactor), odd_codes(second[1], kCodeFactor), weight[0],
               weight[1]);
    };
    product(0, value_[0].x, value_[1].x, value_[2].x, value_[3].x);
    product(2, value_[0].y, value_[1].y, value_[2].y, value_[3].y);
    product(4, value_[0].z, value_[1].z, value_[2].z, value_[3].z);
    product(6, value_[0].w, value_[1].w, value_[2].w, value_[3].w);
  }

 private:
  int token_ = 0;  // of all tokens of all (block, kv head) runs
  uint4 key_[2][kLoads];
  uint4 value_[4];
  float2 key_scale_[2];
  float2 value_scale_[2];
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

template <int kHeadDim, class Group>
class WarpAttention {
 public:
  using Cache = typename Group::Cache;

  __device__ __forceinline__ WarpAttention(const Run& run, const Cache& cache,
                                           const int* block_table, int kv_heads, int block_size)
      : run_(run),
        cache_(cache),
        block_table_(block_table),
        kv_heads_(kv_heads),
        block_size_(block_size),
        lane_(threadIdx.x % kWarpSize) {
#pragma unroll
    for (int m = 0; m < Group::kProducts; m++) {
      out_[m][0] = out_[m][1] = out_[m][2] = out_[m][3] = 0.0f;
    }
  }

  // Scores as exponents of two. Rows of heads that do not exist are zeros.
  __device__ __forceinline__ void load_queries(const __nv_bfloat16* queries, int heads) {
    const int head = lane_ / 4;
    Group::load_query(query_, queries + head * kHeadDim, head < heads, lane_);
  }

  __device__ __forceinline__ void find(int group) {
    const int position = run_.start + group * kGroup;
    const int block = block_table_[position / block_size_];
    kv_.find(static_cast<size_t>(block) * kv_heads_ + blockIdx.y, position % block_size_,
             block_size_);
  }
  __device__ __forceinline__ void load_keys() { kv_.load_keys(cache_, lane_); }
  __device__ __forceinline__ void load_values(int group) {
    kv_.load_values(cache_, run_.len - (run_.start + group * kGroup), lane_);
  }

  // Scores of `group`, whose keys are here; loads the keys of `next` (if below end) behind them.
  __device__ __forceinline__ void attend(int group, int next, float scale) {
    float score[2][4] = {};
    kv_.score(score, query_);
    if (next < run_.end) {
      find(next);
      load_keys();
    }
    uint32_t weight[2];
    soften(weight, score, run_.start + group * kGroup, scale);
    kv_.weigh(out_, weight);
    if (next < run_.end) {
      load_values(next);
    }
  }

  // Rows l / 4 and l / 4 + 8 of product m are a head's column and the next; its columns are query
  // heads.
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
        for (int m = 0; m < Group::kProducts; m += 2) {
          *reinterpret_cast<float4*>(&to.out[head][Group::column_of(m, lane_)]) =
              make_float4(out_[m][c], out_[m][2 + c], out_[m + 1][c], out_[m + 1][2 + c]);
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
      const __nv_bfloat162 pair =
          __floats2bfloat162_rn(a * kv_.value_scale(half, 0), b * kv_.value_scale(half, 1));
      weight[half] = *reinterpret_cast<const uint32_t*>(&pair);
    }
    const float shrink0 = __shfl_sync(kAllLanes, shrink, lane_ % 4 * 8);      // of heads 2 (l % 4)
    const float shrink1 = __shfl_sync(kAllLanes, shrink, lane_ % 4 * 8 + 4);  // and the next
#pragma unroll
    for (int m = 0; m < Group::kProducts; m++) {
      out_[m][0] *= shrink0;
      out_[m][1] *= shrink1;
      out_[m][2] *= shrink0;
      out_[m][3] *= shrink1;
    }
  }

  const Run& run_;
  const Cache cache_;
  const int* block_table_;
  const int kv_heads_;
  const int block_size_;
  const int lane_;
  float largest_ = -INFINITY;
  float total_ = 0.0f;
  typename Group::Query query_;
  Group kv_;
  float out_[Group::kProducts][4];
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

template <int kHeadDim, class Group>
__device__ __forceinline__ void attention(__nv_bfloat16* out, float* partials, int* counters,
                                          const __nv_bfloat16* queries,
                                          const typename Group::Cache& cache,
                                          const int* context_lens,
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
  WarpAttention<kHeadDim, Group> attention(
      run, cache, block_tables + static_cast<size_t>(token) * max_blocks, kv_heads, block_size);
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
