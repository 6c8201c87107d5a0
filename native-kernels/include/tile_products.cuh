// The products of one weight tile with its tokens, for the GEMMs of prefill and of decode: 64 weight
// rows of a warpgroup x kN tokens, over the tile's 64 columns of bf16 or 128 of codes. sm_90a.
#pragma once

#include "code_fragments.cuh"
#include "wgmma.cuh"

// acc += a tile in bf16 x tokens: products of one group are under way.
template <int kN>
__device__ __forceinline__ void multiply_tile(float (&acc)[kN / 2], uint32_t weights,
                                              uint32_t tokens) {
  const uint64_t a = matrix_descriptor(weights);
  const uint64_t b = matrix_descriptor(tokens);
  wgmma_fence();
#pragma unroll
  for (int i = 0; i < kTileK / 16; i++) {
    wgmma_bf16<kN>(acc, a + 2 * i, b + 2 * i);
  }
  wgmma_commit();
}

// acc += a tile of codes x tokens in bf16. The codes become fragments half by half, the second half
// while the first one's products run. MXFP8's exponents are in the fragments; without them the
// tile's sums are multiplied by scale: of rows l / 4, and of rows l / 4 + 8. `sum` is scratch that
// has been written.
template <int kN, bool kMx>
__device__ __forceinline__ void multiply_code_tile(float (&acc)[kN / 2],
                                                   float (&sum)[kMx ? 1 : kN / 2],
                                                   const CodeRows& codes, float2 scale,
                                                   uint32_t tokens, int token_tile_bytes) {
  uint32_t fragments[2][4][4];
#pragma unroll
  for (int g = 0; g < 2; g++) {
    codes.convert(fragments[g], g);
    const uint64_t b = matrix_descriptor(tokens + g * token_tile_bytes);
    wgmma_fence();
#pragma unroll
    for (int s = 0; s < 4; s++) {
      if constexpr (kMx) {
        wgmma_bf16_registers<kN>(acc, fragments[g][s], b + 2 * s, false);
      } else {
        wgmma_bf16_registers<kN>(sum, fragments[g][s], b + 2 * s, g == 0 && s == 0);
      }
    }
    wgmma_commit();
  }
  wgmma_wait<0>();
  if constexpr (kMx) {
    keep_order(acc);
  } else {
    keep_order(sum);
#pragma unroll
    for (int i = 0; i < kN / 2; i++) {
      acc[i] = fmaf(i % 4 < 2 ? scale.x : scale.y, sum[i], acc[i]);
    }
  }
}

// Two columns of silu(gate) * up in bf16, silu(x) = x / (1 + exp(-x)); exp(-x) may be infinite, which
// gives the limit 0.
__device__ __forceinline__ uint32_t swiglu_pair(float gate_low, float gate_high, float up_low,
                                                float up_high) {
  const __nv_bfloat162 pair =
      __floats2bfloat162_rn(__fdividef(gate_low, 1.0f + __expf(-gate_low)) * up_low,
                            __fdividef(gate_high, 1.0f + __expf(-gate_high)) * up_high);
  return *reinterpret_cast<const uint32_t*>(&pair);
}
