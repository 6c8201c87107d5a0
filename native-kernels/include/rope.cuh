// Half-split RoPE of one pair (a, b) = (x[i], x[i + d/2]) by an angle: a product is fused with the
// difference and the sum in one way only, so that every kernel that calls these gives the same bits.
#pragma once

__device__ __forceinline__ float turned_low(float a, float b, float cosine, float sine) {
  return fmaf(a, cosine, -__fmul_rn(b, sine));
}

__device__ __forceinline__ float turned_high(float a, float b, float cosine, float sine) {
  return fmaf(b, cosine, __fmul_rn(a, sine));
}
