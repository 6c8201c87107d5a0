// Activations to E4M3 tiles, eight columns of a lane at a time: what quantize_rows.cu and the GEMM that
// quantises its own rows (quantized_hidden.cuh) share, so that both give the same bits.
#pragma once

#include <cuda_fp8.h>

#include "common.cuh"
#include "fp8_codes.cuh"
#include "grouped_plan.cuh"
#include "input_scales.cuh"

constexpr int kLanesOfBlock = kCodeColumns / kChunk;  // lanes that hold 128 columns

struct QuantizedTiles {
  char* codes;
  float* scales;
  int k_tiles;  // of 128 columns
  int recipe;
  float static_scale;  // what is stored, 1 / scale
  unsigned long long* saturated;  // in host memory: values that static_scale cuts off
};

__device__ __forceinline__ float largest_of(const Bf16x8& chunk) {
  float values[kChunk];
  unpack(chunk, values);
  float largest = 0.0f;
#pragma unroll
  for (int i = 0; i < kChunk; i++) {
    largest = fmaxf(largest, fabsf(values[i]));
  }
  return largest;
}

// Two codes of neighbouring columns, the lower one in the low byte.
__device__ __forceinline__ uint32_t code_pair(float low, float high) {
  return __nv_cvt_float2_to_fp8x2(make_float2(low, high), __NV_SATFINITE, __NV_E4M3);
}

// Eight columns from a multiple of 8 on become two words of their row. Chunks j and j + 1 (j even)
// are the halves of a k16 step and share words: columns 2 c, 2 c + 1 of both are word c. All lanes
// of a warp must call it; the even chunk's lane gets words 0 and 1, the odd one's 2 and 3.
__device__ __forceinline__ uint2 code_words(const Bf16x8& from, int chunk, float scale) {
  float v[kChunk];
  unpack(from, v);
  uint32_t pairs[4];
#pragma unroll
  for (int c = 0; c < 4; c++) {
    pairs[c] = code_pair(v[2 * c] * scale, v[2 * c + 1] * scale);
  }
  const bool odd = chunk % 2 == 1;
  const uint32_t give0 = odd ? pairs[0] : pairs[2];
  const uint32_t give1 = odd ? pairs[1] : pairs[3];
  const uint32_t got0 = __shfl_xor_sync(0xffffffffu, give0, 1);
  const uint32_t got1 = __shfl_xor_sync(0xffffffffu, give1, 1);
  // Bytes: column 2 c of both halves of the step, then column 2 c + 1 of both.
  return make_uint2(__byte_perm(odd ? got0 : pairs[0], odd ? pairs[2] : got0, 0x5140),
                    __byte_perm(odd ? got1 : pairs[1], odd ? pairs[3] : got1, 0x5140));
}

// chunk: 0 to 15, of the tile's row.
__device__ __forceinline__ void store_words(char* tile, int row, int chunk, uint2 words) {
  const int first = chunk / 8 * 4 + chunk % 2 * 2;
  const int step = chunk % 8 / 2;
  *reinterpret_cast<uint32_t*>(tile + swizzled_bytes(row, first) + step * 4) = words.x;
  *reinterpret_cast<uint32_t*>(tile + swizzled_bytes(row, first + 1) + step * 4) = words.y;
}

// Columns 8 chunk to 8 chunk + 7 of row `in_tile` of a bf16 token tile that starts at `tile`.
__device__ __forceinline__ const __nv_bfloat16* token_chunk(const __nv_bfloat16* tile, int tile_rows,
                                                            int in_tile, int chunk) {
  return tile + static_cast<size_t>(chunk / kChunksPerRow) * tile_rows * kTileK +
         swizzled_bytes(in_tile, chunk % kChunksPerRow) / 2;
}
