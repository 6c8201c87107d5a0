// Kernels.routeTopK for one token by one warp: the same bits wherever it is called.
#pragma once

#include "decode_stream.cuh"

constexpr int kMaxExperts = 16;

// Which of the experts whose weights are here an expert is: `count` of them, from `first` on. -1: one
// of another device's, or nobody.
__device__ __forceinline__ int own_expert(int expert, int first, int count) {
  const int own = expert - first;
  return own >= 0 && own < count ? own : -1;
}

// Lane e < E (at most 16) brings expert e's logit. Writes the K best, best first, and their
// weights: softmax over all experts, renormalised over the chosen, which is softmax over the
// chosen. Ties go to the lower expert, NaN loses. Padding chooses nothing: ids -1, weights 0.
__device__ __forceinline__ void choose_experts(int* ids, float* weights, float logit, int experts,
                                               int per_token, bool padding, int lane) {
  bool open = lane < experts;
  float top = 0.0f;
  float total = 0.0f;
  float weight = 0.0f;  // lane k: of the k-th best
  int id = -1;
  for (int k = 0; k < per_token; k++) {
    float best = open && logit == logit ? logit : -INFINITY;
    int who = open ? lane : kWarpSize;
#pragma unroll
    for (int offset = kMaxExperts / 2; offset > 0; offset /= 2) {
      if (offset >= experts) {
        continue;
      }
      const float other = __shfl_xor_sync(kAllLanes, best, offset);
      const int other_who = __shfl_xor_sync(kAllLanes, who, offset);
      const bool better = other > best || (other == best && other_who < who);
      best = better ? other : best;
      who = better ? other_who : who;
    }
    open = open && lane != who;
    top = k == 0 ? best : top;
    const float share = best == top ? 1.0f : expf(best - top);
    total += share;
    weight = lane == k ? share : weight;
    id = lane == k ? who : id;
  }
  if (lane < per_token) {
    ids[lane] = padding ? -1 : id;
    weights[lane] = padding ? 0.0f : weight / total;
  }
}
