// The same ops as plain loops in fp32 over row-major data, a warp per output: what the kernels are
// held against. `count` outputs are taken in order if that is all of them, else at random.
#pragma once

#include "device.cuh"
#include "grouped_plan.cuh"
#include "kv_layout.cuh"

__device__ inline size_t pick(size_t sample, size_t count, size_t total) {
  return count == total
             ? sample
             : (static_cast<size_t>(hash(sample * 2)) << 20 ^ hash(sample * 2 + 1)) % total;
}

__device__ inline float warp_total(float value) {
  for (int offset = 16; offset > 0; offset /= 2) {
    value += __shfl_xor_sync(0xffffffffu, value, offset);
  }
  return value;
}

__device__ inline float dot(const bf16* a, const bf16* b, int length) {
  float sum = 0;
  for (int i = threadIdx.x % 32; i < length; i += 32) {
    sum = fmaf(__bfloat162float(a[i]), __bfloat162float(b[i]), sum);
  }
  return warp_total(sum);
}

__device__ inline size_t sample_of_warp() {
  return (static_cast<size_t>(blockIdx.x) * blockDim.x + threadIdx.x) / 32;
}

// Where a padded row's column lies in token tiles.
__device__ inline size_t tiled_at(const GroupPlan& group, int row, int column, int k_tiles) {
  const int in_tile = (row - group.first_row) % group.tile_rows;
  return static_cast<size_t>(row - in_tile) * k_tiles * kTileK +
         static_cast<size_t>(column / kTileK) * group.tile_rows * kTileK +
         swizzled_element(in_tile, column % kTileK);
}

// want = silu(gate) * up of (pair, column); got from the tiles; exact keeps the unrounded values.
static __global__ void reference_gate_up(float* want, float* got, const bf16* inner, const bf16* x,
                                         const bf16* weights, const int* expert_ids,
                                         const GroupPlan* plan, const int* pair_row, int pairs,
                                         int slots, int hidden, int intermediate, size_t count) {
  const size_t sample = sample_of_warp();
  if (sample >= count) return;
  const size_t at = pick(sample, count, static_cast<size_t>(pairs) * intermediate);
  const int pair = at / intermediate, column = at % intermediate;
  const int expert = expert_ids[pair];
  const bf16* row = x + static_cast<size_t>(pair / slots) * hidden;
  const bf16* gate = weights + (static_cast<size_t>(expert) * 2 * intermediate + column) * hidden;
  const float g = dot(row, gate, hidden);
  const float u = dot(row, gate + static_cast<size_t>(intermediate) * hidden, hidden);
  if (threadIdx.x % 32 == 0) {
    want[sample] = g / (1 + expf(-g)) * u;
    got[sample] = __bfloat162float(
        inner[tiled_at(plan[expert], pair_row[pair], column, ceil_div(intermediate, kTileK))]);
  }
}

// want = down projection of the tiles that the kernel read.
static __global__ void reference_down(float* want, float* got, const float* rows, const bf16* inner,
                                      const bf16* weights, const int* expert_ids,
                                      const GroupPlan* plan, const int* pair_row, int pairs,
                                      int hidden, int intermediate, size_t count) {
  const size_t sample = sample_of_warp();
  if (sample >= count) return;
  const size_t at = pick(sample, count, static_cast<size_t>(pairs) * hidden);
  const int pair = at / hidden, column = at % hidden;
  const int expert = expert_ids[pair];
  const bf16* weight = weights + (static_cast<size_t>(expert) * hidden + column) * intermediate;
  float sum = 0;
  for (int i = threadIdx.x % 32; i < intermediate; i += 32) {
    const size_t from = tiled_at(plan[expert], pair_row[pair], i, ceil_div(intermediate, kTileK));
    sum = fmaf(__bfloat162float(inner[from]), __bfloat162float(weight[i]), sum);
  }
  sum = warp_total(sum);
  if (threadIdx.x % 32 == 0) {
    want[sample] = sum;
    got[sample] = rows[static_cast<size_t>(pair_row[pair]) * hidden + column];
  }
}

// want = sum over slots of weight * down(inner), from the reference's own unrounded inner values.
static __global__ void reference_moe(float* want, float* got, const bf16* out, const float* inner,
                                     const bf16* weights, const int* expert_ids,
                                     const float* expert_weights, int tokens, int slots, int hidden,
                                     int intermediate) {
  const size_t sample = sample_of_warp();
  if (sample >= static_cast<size_t>(tokens) * hidden) return;
  const int token = sample / hidden, column = sample % hidden;
  float total = 0;
  for (int slot = 0; slot < slots; slot++) {
    const int pair = token * slots + slot;
    const bf16* weight =
        weights + (static_cast<size_t>(expert_ids[pair]) * hidden + column) * intermediate;
    float sum = 0;
    for (int i = threadIdx.x % 32; i < intermediate; i += 32) {
      sum = fmaf(inner[static_cast<size_t>(pair) * intermediate + i], __bfloat162float(weight[i]),
                 sum);
    }
    total += expert_weights[pair] * warp_total(sum);
  }
  if (threadIdx.x % 32 == 0) {
    want[sample] = total;
    got[sample] = __bfloat162float(out[sample]);
  }
}

__device__ inline float to_float(bf16 value) { return __bfloat162float(value); }
__device__ inline float to_float(float value) { return value; }

template <class Out>
static __global__ void reference_matmul(float* want, float* got, const Out* out, const bf16* x,
                                        const bf16* weights, int rows, int n, int k, size_t count) {
  const size_t sample = sample_of_warp();
  if (sample >= count) return;
  const size_t at = pick(sample, count, static_cast<size_t>(rows) * n);
  const float sum = dot(x + at / n * k, weights + at % n * k, k);
  if (threadIdx.x % 32 == 0) {
    want[sample] = sum;
    got[sample] = to_float(out[at]);
  }
}

// One warp per (token, head): two passes over the keys it sees, then the weighted values.
static __global__ void reference_attention(float* want, float* got, const bf16* out,
                                           const bf16* qkv, const bf16* keys, const bf16* values,
                                           const int* tables, const int* cu_seq_lens,
                                           const int* context_lens, int seqs, int heads,
                                           int kv_heads, int block_size, int max_blocks, int window,
                                           float scale, size_t count) {
  constexpr int kDim = 128;
  const size_t sample = sample_of_warp();
  if (sample >= count) return;
  const int lane = threadIdx.x % 32;
  const size_t at = pick(sample, count, static_cast<size_t>(cu_seq_lens[seqs]) * heads);
  const int token = at / heads, head = at % heads;
  int s = 0;
  while (token >= cu_seq_lens[s + 1]) s++;
  const int position = context_lens[s] - cu_seq_lens[s + 1] + token;
  const int first = window > 0 ? max(0, position - window + 1) : 0;
  const bf16* query = qkv + (static_cast<size_t>(token) * (heads + 2 * kv_heads) + head) * kDim;
  const int kv_head = head / (heads / kv_heads);
  float top = -INFINITY, total = 0, sum[4] = {};
  for (int pass = 0; pass < 2; pass++) {
    for (int p = first; p <= position; p++) {
      const int block = tables[s * max_blocks + p / block_size];
      float score = 0;
      for (int i = lane; i < kDim; i += 32) {
        const size_t from =
            kv_element(block, kv_head, p % block_size, i, kv_heads, block_size, kDim);
        score = fmaf(__bfloat162float(query[i]), __bfloat162float(keys[from]), score);
      }
      score = warp_total(score) * scale;
      if (pass == 0) {
        top = fmaxf(top, score);
        continue;
      }
      const float weight = expf(score - top);
      total += weight;
      for (int i = 0; i < 4; i++) {
        const size_t from =
            kv_element(block, kv_head, p % block_size, lane + 32 * i, kv_heads, block_size, kDim);
        sum[i] = fmaf(weight, __bfloat162float(values[from]), sum[i]);
      }
    }
  }
  for (int i = 0; i < 4; i++) {
    want[sample * kDim + lane + 32 * i] = sum[i] / total;
    got[sample * kDim + lane + 32 * i] =
        __bfloat162float(out[(static_cast<size_t>(token) * heads + head) * kDim + lane + 32 * i]);
  }
}

inline int warps_grid(size_t count) { return static_cast<int>((count * 32 + 255) / 256); }
