// What every kernel needs: bf16 packs of 16 bytes and sums over a block. Fixed order everywhere:
// the same input gives the same bits.
#pragma once

#include <cuda_bf16.h>
#include <stdint.h>

constexpr int kWarpSize = 32;

// Eight bf16 values, loaded and stored as one 16-byte access. Words, because a struct of
// __nv_bfloat162, which have a copy constructor, is copied in four.
struct alignas(16) Bf16x8 {
  uint32_t pair[4];
};

__device__ __forceinline__ void unpack(const Bf16x8& packed, float (&values)[8]) {
#pragma unroll
  for (int i = 0; i < 4; i++) {
    const float2 two =
        __bfloat1622float2(*reinterpret_cast<const __nv_bfloat162*>(&packed.pair[i]));
    values[2 * i] = two.x;
    values[2 * i + 1] = two.y;
  }
}

__device__ __forceinline__ Bf16x8 pack(const float (&values)[8]) {
  Bf16x8 packed;
#pragma unroll
  for (int i = 0; i < 4; i++) {
    const __nv_bfloat162 two = __floats2bfloat162_rn(values[2 * i], values[2 * i + 1]);
    packed.pair[i] = *reinterpret_cast<const uint32_t*>(&two);
  }
  return packed;
}

__device__ __forceinline__ float warp_sum(float value) {
#pragma unroll
  for (int offset = kWarpSize / 2; offset > 0; offset /= 2) {
    value += __shfl_xor_sync(0xffffffffu, value, offset);
  }
  return value;
}

// The sum over all threads, known to each of them. Every thread of the block must call it.
__device__ __forceinline__ float block_sum(float value) {
  __shared__ float partial[kWarpSize];
  const int lane = threadIdx.x % kWarpSize;
  const int warp = threadIdx.x / kWarpSize;
  value = warp_sum(value);
  if (lane == 0) {
    partial[warp] = value;
  }
  __syncthreads();
  const int warps = (blockDim.x + kWarpSize - 1) / kWarpSize;
  value = warp_sum(lane < warps ? partial[lane] : 0.0f);
  __syncthreads();  // partial may be written again by the next call
  return value;
}
