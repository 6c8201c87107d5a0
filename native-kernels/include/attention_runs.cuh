// Attention over many keys in runs of 512, from position 0 on: each has a softmax of its own, and
// what they give is added up in ascending order. So a few rows' keys can be shared out among blocks,
// and a block that takes all of a row's keys gives the same bits. Part of paged_attention_prefill.cu,
// for a warp's 16 rows, of which a thread holds two.
//
// A state is what is known of a row after some of its keys: d sums of values weighted by
// probabilities, the largest score, and the sum of probabilities, both relative to it. Adding a run
// of which the row sees no key (-inf, zeros) changes no bit, at the beginning and at the end.
#pragma once

#include "attention_tiles.cuh"

constexpr int kStateFloats = kHeadDim + 2;

__device__ __forceinline__ float exp2_fast(float x) {
  float y;
  asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
  return y;
}

// What a sum relative to `from` is to be multiplied by to be relative to `to`, which is no less.
__device__ __forceinline__ float rebased(float from, float to, float scale) {
  return exp2_fast(from == to ? 0.0f : __fmul_rn(__fsub_rn(from, to), scale));
}

// Where this thread's two rows keep their states; null for rows without a token.
struct RowStates {
  float* row[2];

  // Between the runs of one tile: the block's own.
  __device__ __forceinline__ RowStates(const AttentionArgs& args, const Tile& tile, int first_row,
                                       int group) {
#pragma unroll
    for (int r = 0; r < 2; r++) {
      const int packed = first_row + 8 * r;
      row[r] = packed / group < tile.tokens
                   ? args.states + (static_cast<size_t>(blockIdx.x) * kRows + packed) * kStateFloats
                   : nullptr;
    }
  }

  // Of run 0, where runs are tiles; the next run's lies kStateFloats on.
  __device__ __forceinline__ void set_shared(const AttentionArgs& args, const Tile& tile,
                                             int first_row, int group) {
#pragma unroll
    for (int r = 0; r < 2; r++) {
      const int packed = first_row + 8 * r;
      const size_t token = tile.first_row + packed / group;
      const size_t head = tile.kv_head * group + packed % group;
      if (row[r] != nullptr) {
        row[r] = args.states + (token * args.heads + head) * args.max_runs * kStateFloats;
      }
    }
  }

  __device__ __forceinline__ void store(int run, const float (&sum)[64], const float (&maximum)[2],
                                        const float (&total)[2], int lane) const {
#pragma unroll
    for (int r = 0; r < 2; r++) {
      if (row[r] == nullptr) {
        continue;
      }
      float* to = row[r] + run * kStateFloats;
#pragma unroll
      for (int j = 0; j < 16; j++) {
        *reinterpret_cast<float2*>(to + 8 * j + lane % 4 * 2) =
            make_float2(sum[4 * j + 2 * r], sum[4 * j + 2 * r + 1]);
      }
      if (lane % 4 == 0) {
        *reinterpret_cast<float2*>(to + kHeadDim) = make_float2(maximum[r], total[r]);
      }
    }
  }

  // Adds the stored state of `run`, which is of earlier keys than this thread's, or of later ones.
  template <bool kEarlier>
  __device__ __forceinline__ void add(int run, float (&sum)[64], float (&maximum)[2],
                                      float (&total)[2], float scale, int lane) const {
    const auto both = [](float mine, float my_factor, float stored, float its_factor) {
      return kEarlier ? fmaf(stored, its_factor, __fmul_rn(mine, my_factor))
                      : fmaf(mine, my_factor, __fmul_rn(stored, its_factor));
    };
#pragma unroll
    for (int r = 0; r < 2; r++) {
      if (row[r] == nullptr) {
        continue;
      }
      const float* from = row[r] + run * kStateFloats;
      const float2 known = __ldcg(reinterpret_cast<const float2*>(from + kHeadDim));
      const float top = fmaxf(maximum[r], known.x);
      const float mine = rebased(maximum[r], top, scale);
      const float its = rebased(known.x, top, scale);
      maximum[r] = top;
      total[r] = both(total[r], mine, known.y, its);
#pragma unroll
      for (int j = 0; j < 16; j++) {
        const float2 v = __ldcg(reinterpret_cast<const float2*>(from + 8 * j + lane % 4 * 2));
        sum[4 * j + 2 * r] = both(sum[4 * j + 2 * r], mine, v.x, its);
        sum[4 * j + 2 * r + 1] = both(sum[4 * j + 2 * r + 1], mine, v.y, its);
      }
    }
  }

  __device__ __forceinline__ bool has_rows() const {
    return __any_sync(0xffffffffu, row[0] != nullptr || row[1] != nullptr);
  }
};

// Puts this warp's run beside the others of its tile. The warp that comes last gets their sum, and
// true.
__device__ __forceinline__ bool join_runs(const AttentionArgs& args, const Tile& tile,
                                          const RowStates& states, float (&sum)[64],
                                          float (&maximum)[2], float (&total)[2], float scale,
                                          int lane) {
  const int runs = tile.run >> 16;
  if (runs == 1 || !states.has_rows()) {
    return true;
  }
  states.store(tile.run & 0xffff, sum, maximum, total, lane);
  __threadfence();
  __syncwarp();
  int* counter = args.counters + (tile.first_row * args.kv_heads + tile.kv_head) * 4 +
                 threadIdx.x / kWarpSize % 4;
  int before = lane == 0 ? atomicAdd(counter, 1) : 0;
  before = __shfl_sync(0xffffffffu, before, 0);
  if (before != runs - 1) {
    return false;
  }
  if (lane == 0) {
    *counter = 0;
  }
  __threadfence();
#pragma unroll
  for (int i = 0; i < 64; i++) {
    sum[i] = 0.0f;
  }
  maximum[0] = maximum[1] = -INFINITY;
  total[0] = total[1] = 0.0f;
  for (int run = 0; run < runs; run++) {
    states.add<false>(run, sum, maximum, total, scale, lane);
  }
  return true;
}
