// Attention of a decode step over a cache in bf16 or FP8; what it does and how it is launched stands in
// kernels/decode_attention.cu.
#pragma once

#include "kv_groups.cuh"

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

  const Run run_;  // behind a reference one of its fields would spill
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
