// The K best of E router logits per token, and their softmax renormalised to sum 1: the softmax
// over the K best alone, which is the same. Ties go to the lower expert. Called by
// Kernels.routeTopK. expert_ids_own_i32: which of them are a rank's own experts
// (Kernels.dispatch), counted from its first; -1 for the others'.
//
// One warp per row, 8 warps per block; fp32 throughout. A NaN logit counts as the least.

#include <math_constants.h>

#include "common.cuh"

extern "C" __global__ void route_top_k_f32(int* expert_ids,         // [rows, K]
                                           float* expert_weights,   // [rows, K]
                                           const float* logits,     // [rows, E]
                                           int rows, int num_experts, int per_token) {
  const int row = blockIdx.x * (blockDim.x / kWarpSize) + threadIdx.x / kWarpSize;
  const int lane = threadIdx.x % kWarpSize;
  if (row >= rows) {
    return;
  }
  const float* values = logits + static_cast<size_t>(row) * num_experts;
  int* ids = expert_ids + static_cast<size_t>(row) * per_token;
  float* weights = expert_weights + static_cast<size_t>(row) * per_token;
  float last = CUDART_INF_F;  // what was taken before, in the order (logit down, index up)
  int last_index = -1;
  float best_of_all = 0.0f;
  float sum = 0.0f;
  for (int slot = 0; slot < per_token; slot++) {
    float best = -CUDART_INF_F;
    int best_index = num_experts;
    for (int e = lane; e < num_experts; e += kWarpSize) {
      const float value = isnan(values[e]) ? -CUDART_INF_F : values[e];
      const bool is_left = value < last || (value == last && e > last_index);
      if (is_left && (value > best || best_index == num_experts)) {
        best = value;
        best_index = e;
      }
    }
#pragma unroll
    for (int offset = kWarpSize / 2; offset > 0; offset /= 2) {
      const float other = __shfl_xor_sync(0xffffffffu, best, offset);
      const int other_index = __shfl_xor_sync(0xffffffffu, best_index, offset);
      if (other > best || (other == best && other_index < best_index)) {
        best = other;
        best_index = other_index;
      }
    }
    if (slot == 0) {
      best_of_all = best;
    }
    last = best;
    last_index = best_index;
    sum += expf(best - best_of_all);
    if (lane == 0) {
      ids[slot] = best_index;
      weights[slot] = expf(best - best_of_all);
    }
  }
  __syncwarp();
  for (int slot = lane; slot < per_token; slot += kWarpSize) {
    weights[slot] /= sum;
  }
}

extern "C" __global__ void expert_ids_own_i32(int* own_ids,           // [choices]
                                              const int* expert_ids,  // [choices]
                                              int first_expert, int num_experts, int choices) {
  const int i = blockIdx.x * blockDim.x + threadIdx.x;
  if (i < choices) {
    const int own = expert_ids[i] - first_expert;
    own_ids[i] = own >= 0 && own < num_experts ? own : -1;
  }
}
