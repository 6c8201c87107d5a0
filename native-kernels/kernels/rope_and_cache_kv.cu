// Rotary embedding in place, and keys and values into the paged cache. Called by
// Kernels.ropeAndCacheKv.
//
// Half-split form: the pair (i, i + d/2) of every query and key head turns by the angle whose cosine
// and sine the fp32 table holds for the token's position. H query heads, G KV heads, d head dim.
// Cache: kv_layout.cuh. The key that is cached has the bits of the key in qkv. Rows with slot -1
// write no cache.
//
// One block per token.

#include "common.cuh"
#include "kv_layout.cuh"
#include "rope.cuh"

extern "C" __global__ void rope_and_cache_kv_bf16(
    __nv_bfloat16* qkv,  // [T, (H + 2G) d]
    __nv_bfloat16* keys, __nv_bfloat16* values,
    const float* table,    // [positions, d]: d/2 cosines, then d/2 sines
    const int* positions,  // [T]
    const int* slots,      // [T]
    int num_heads, int num_kv_heads, int head_dim, int block_size) {
  const int token = blockIdx.x;
  const int half = head_dim / 2;
  const int slot = slots[token];
  const float* cosines = table + static_cast<size_t>(positions[token]) * head_dim;
  const float* sines = cosines + half;
  __nv_bfloat16* row = qkv + static_cast<size_t>(token) * (num_heads + 2 * num_kv_heads) * head_dim;
  const int block = slot < 0 ? 0 : slot / block_size;
  const int offset = slot < 0 ? 0 : slot % block_size;
  const auto cache_at = [=](int head, int column) {
    return kv_element(block, head, offset, column, num_kv_heads, block_size, head_dim);
  };
  for (int at = threadIdx.x; at < (num_heads + num_kv_heads) * half; at += blockDim.x) {
    const int head = at / half;
    const int i = at % half;
    __nv_bfloat16* vector = row + head * head_dim;
    const float a = __bfloat162float(vector[i]);
    const float b = __bfloat162float(vector[i + half]);
    const __nv_bfloat16 turned_a = __float2bfloat16(turned_low(a, b, cosines[i], sines[i]));
    const __nv_bfloat16 turned_b = __float2bfloat16(turned_high(a, b, cosines[i], sines[i]));
    vector[i] = turned_a;
    vector[i + half] = turned_b;
    if (head >= num_heads && slot >= 0) {
      keys[cache_at(head - num_heads, i)] = turned_a;
      keys[cache_at(head - num_heads, i + half)] = turned_b;
    }
  }
  if (slot < 0) {
    return;
  }
  const __nv_bfloat16* value_row = row + (num_heads + num_kv_heads) * head_dim;
  for (int at = threadIdx.x; at < num_kv_heads * head_dim; at += blockDim.x) {
    values[cache_at(at / head_dim, at % head_dim)] = value_row[at];
  }
}
