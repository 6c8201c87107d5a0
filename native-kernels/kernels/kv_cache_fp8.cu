// The FP8 cache (kv_codes.cuh) beside kernels that know a bf16 one (kv_layout.cuh): one layer of bf16
// blocks, shared by all layers, stands between.
//
//   kv_store_fp8     codes and scales of this batch's tokens, from where rope has put them in bf16
//   kv_expand_bf16   bf16 of everything that the batch's sequences see, for prefill's attention
//
// Both directions go through the codes, so that decode and prefill see the same values. Launches:
// kv_store_fp8 grid (G, T), block 64 (a warp for the key, one for the value), d at most 256, slot -1
// is padding; kv_expand_bf16 grid (max_blocks, S), block 256. Programmatic dependent launch is
// optional.

#include <cuda_fp16.h>
#include <cuda_fp8.h>

#include "decode_tokens.cuh"
#include "input_scales.cuh"
#include "kv_codes.cuh"
#include "kv_layout.cuh"

extern "C" __global__ void __launch_bounds__(64)
    kv_store_fp8(unsigned char* key_codes, unsigned char* value_codes, float* key_scales,
                 float* value_scales, const __nv_bfloat16* keys, const __nv_bfloat16* values,
                 const int* slots, int kv_heads, int head_dim, int block_size) {
  constexpr int kMost = 8;  // columns of a lane
  wait_for_predecessor();
  release_successor();
  const int slot = slots[blockIdx.y];
  if (slot < 0) {
    return;
  }
  const int head = blockIdx.x;
  const int lane = threadIdx.x % kWarpSize;
  const bool is_key = threadIdx.x < kWarpSize;
  const __nv_bfloat16* from = is_key ? keys : values;
  const size_t token =
      (static_cast<size_t>(slot / block_size) * kv_heads + head) * block_size + slot % block_size;
  float value[kMost] = {};
  float largest = 0.0f;
#pragma unroll
  for (int i = 0; i < kMost; i++) {
    const int column = i * kWarpSize + lane;
    if (column < head_dim) {
      value[i] = __bfloat162float(from[kv_element(slot / block_size, head, slot % block_size,
                                                  column, kv_heads, block_size, head_dim)]);
      largest = fmaxf(largest, fabsf(value[i]));
    }
  }
#pragma unroll
  for (int offset = kWarpSize / 2; offset > 0; offset /= 2) {
    largest = fmaxf(largest, __shfl_xor_sync(kAllLanes, largest, offset));
  }
  const float scale = scale_of(largest, kPerRow);
  unsigned char* to = (is_key ? key_codes : value_codes) + token * kv_code_width(head_dim);
#pragma unroll
  for (int i = 0; i < kMost; i++) {
    const int column = i * kWarpSize + lane;
    if (column < head_dim) {
      to[column] = __nv_cvt_float_to_fp8(value[i] * scale, __NV_SATFINITE, __NV_E4M3);
    }
  }
  if (lane == 0) {
    (is_key ? key_scales : value_scales)[token] = __frcp_rn(scale);
  }
}

extern "C" __global__ void __launch_bounds__(256)
    kv_expand_bf16(__nv_bfloat16* keys, __nv_bfloat16* values, const unsigned char* key_codes,
                   const unsigned char* value_codes, const float* key_scales,
                   const float* value_scales, const int* block_tables, const int* context_lens,
                   int kv_heads, int head_dim, int block_size) {
  const int tokens = min(block_size, context_lens[blockIdx.y] - static_cast<int>(blockIdx.x) * block_size);
  if (tokens <= 0) {
    return;
  }
  const int block = block_tables[static_cast<size_t>(blockIdx.y) * gridDim.x + blockIdx.x];
  const int width = kv_code_width(head_dim);
  const int chunks = ceil_div(head_dim, kChunk);
  for (int at = threadIdx.x; at < 2 * kv_heads * tokens * chunks; at += blockDim.x) {
    const int column = at % chunks * kChunk;
    const int token = at / chunks % tokens;
    const int head = at / chunks / tokens % kv_heads;
    const bool is_key = at / chunks / tokens < kv_heads;
    const size_t place = (static_cast<size_t>(block) * kv_heads + head) * block_size + token;
    const uint2 codes =
        *reinterpret_cast<const uint2*>((is_key ? key_codes : value_codes) + place * width + column);
    const float scale = (is_key ? key_scales : value_scales)[place];
    float of[kChunk];
#pragma unroll
    for (int i = 0; i < kChunk; i++) {
      const uint32_t word = i < 4 ? codes.x : codes.y;
      const __nv_fp8_storage_t code = word >> (8 * (i % 4)) & 0xFF;
      of[i] = __half2float(__half(__nv_cvt_fp8_to_halfraw(code, __NV_E4M3))) * scale;
    }
    *reinterpret_cast<Bf16x8*>((is_key ? keys : values) + kv_element(block, head, token, column,
                                                                     kv_heads, block_size,
                                                                     head_dim)) = pack(of);
  }
}
