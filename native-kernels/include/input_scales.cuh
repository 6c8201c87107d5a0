// The scales of quantised inputs (TransformerEngine's recipes): code = rne(x * scale), at most 448 in
// magnitude; value = code * (1 / scale).
#pragma once

enum Recipe {
  kPerRow = 0,      // 448 / largest of a row
  kBlock = 1,       // of 128 columns of a row
  kBlockPow2 = 2,   // the same without its mantissa
  kStatic = 3,      // given
  kMx = 4,          // of 32 columns: a power of two, its inverse rounded up
};

// What is zero or infinite has scale 1.
__device__ __forceinline__ float scale_of(float largest, int recipe) {
  if (recipe == kMx) {
    const unsigned bits = __float_as_uint(__fmul_rn(largest, 1.0f / 448.0f));
    const int exponent = static_cast<int>(bits >> 23) + ((bits & 0x7FFFFF) != 0);
    return ldexpf(1.0f, 127 - min(exponent, 254));
  }
  if (largest == 0.0f || isinf(largest)) {
    return 1.0f;
  }
  const float scale = __fmul_rn(448.0f, __frcp_rn(largest));
  if (isinf(scale)) {  // of subnormal rows
    return recipe == kBlockPow2 ? 1.70141183e38f : 3.40282347e38f;
  }
  return recipe == kBlockPow2 ? __uint_as_float(__float_as_uint(scale) & 0xFF800000u) : scale;
}

// Whether a code is smaller than the value for want of a larger one.
__device__ __forceinline__ bool is_cut_off(float x, float scale) { return fabsf(x * scale) > 448.0f; }

// Adds up the lanes' counts of a whole warp; nothing is written where there are none.
__device__ __forceinline__ void count_saturated(unsigned long long* saturated, unsigned count) {
  for (int offset = 16; offset > 0; offset /= 2) {
    count += __shfl_xor_sync(0xffffffffu, count, offset);
  }
  if (count > 0 && threadIdx.x % 32 == 0) {
    atomicAdd(saturated, static_cast<unsigned long long>(count));
  }
}
