// RMSNorm of a row of fp32 by a block: x / sqrt(mean(x^2) + eps) * weight. In one place, so that the
// kernels that norm rows for many tokens and for few give the same bits. A thread t of n takes the
// columns 8 t ... 8 t + 7 and on in steps of 8 n.
#pragma once

#include "common.cuh"

constexpr int kNormColumns = 8;  // of a thread at a time

// A thread's sum of squares, one column after the other.
__device__ __forceinline__ float add_squares(float sum, const float (&values)[kNormColumns]) {
#pragma unroll
  for (int i = 0; i < kNormColumns; i++) {
    sum = fmaf(values[i], values[i], sum);
  }
  return sum;
}

// 1 / rms from the threads' sums. Every thread of the block must call it.
__device__ __forceinline__ float norm_scale(float sum, int width, float eps) {
  return rsqrtf(block_sum(sum) / width + eps);
}

__device__ __forceinline__ Bf16x8 normed(float (&values)[kNormColumns],
                                         const float (&gain)[kNormColumns], float scale) {
#pragma unroll
  for (int i = 0; i < kNormColumns; i++) {
    values[i] = values[i] * scale * gain[i];
  }
  return pack(values);
}
