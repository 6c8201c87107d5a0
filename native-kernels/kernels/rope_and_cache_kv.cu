// Rotary embedding in place, and keys and values into the paged cache. Called by
// Kernels.ropeAndCacheKv.
//
// Half-split form: the pair (i, i + d/2) of every query and key head turns by the angle whose cosine
// and sine the fp32 table holds for the token's position. H query heads, G KV heads, d head dim.
// Cache: kv_layout.cuh. The key that is cached has the bits of the key in qkv. Rows with slot -1
// write no cache.
//
// One block per token, of at least d/2 threads. A thread keeps to one pack of columns, and so to its
// angles, and goes through the heads: queries, keys, values. Packs are of 8 columns where halves of
// heads are multiples of 8, and every row therefore aligned to 16 bytes, else of one.

#include "common.cuh"
#include "kv_layout.cuh"
#include "rope.cuh"

namespace {

template <int kColumns>
struct Pack {
  float at[kColumns];

  __device__ __forceinline__ explicit Pack(const float* from) {
    if constexpr (kColumns == 8) {
      const float4 low = reinterpret_cast<const float4*>(from)[0];
      const float4 high = reinterpret_cast<const float4*>(from)[1];
      at[0] = low.x, at[1] = low.y, at[2] = low.z, at[3] = low.w;
      at[4] = high.x, at[5] = high.y, at[6] = high.z, at[7] = high.w;
    } else {
      at[0] = *from;
    }
  }

  __device__ __forceinline__ explicit Pack(const __nv_bfloat16* from) {
    if constexpr (kColumns == 8) {
      unpack(*reinterpret_cast<const Bf16x8*>(from), at);
    } else {
      at[0] = __bfloat162float(*from);
    }
  }

  __device__ __forceinline__ void store(__nv_bfloat16* to) const {
    if constexpr (kColumns == 8) {
      *reinterpret_cast<Bf16x8*>(to) = pack(at);
    } else {
      *to = __float2bfloat16(at[0]);
    }
  }
};

template <int kColumns>
__device__ __forceinline__ void turn(Pack<kColumns>& low, Pack<kColumns>& high,
                                     const Pack<kColumns>& cosines, const Pack<kColumns>& sines) {
#pragma unroll
  for (int i = 0; i < kColumns; i++) {
    const float a = low.at[i];
    const float b = high.at[i];
    low.at[i] = turned_low(a, b, cosines.at[i], sines.at[i]);
    high.at[i] = turned_high(a, b, cosines.at[i], sines.at[i]);
  }
}

// One token's heads: row is its row of qkv, angles its row of the table.
template <int kColumns>
__device__ __forceinline__ void rope_and_cache(__nv_bfloat16* row, __nv_bfloat16* keys,
                                               __nv_bfloat16* values, const float* angles, int slot,
                                               int num_heads, int num_kv_heads, int head_dim,
                                               int block_size) {
  const int half = head_dim / 2;
  const int packs = half / kColumns;  // of half a head
  const int heads_at_once = blockDim.x / packs;
  const int column = threadIdx.x % packs * kColumns;
  const int first = threadIdx.x / packs;
  if (first >= heads_at_once) {
    return;
  }
  const Pack<kColumns> cosines(angles + column);
  const Pack<kColumns> sines(angles + half + column);
  const int block = slot < 0 ? 0 : slot / block_size;
  const int offset = slot < 0 ? 0 : slot % block_size;
  const int last = num_heads + (slot < 0 ? 1 : 2) * num_kv_heads;  // values only go to the cache
  for (int head = first; head < last; head += heads_at_once) {
    __nv_bfloat16* from = row + head * head_dim + column;
    Pack<kColumns> low(from);
    Pack<kColumns> high(from + half);
    const bool is_value = head >= num_heads + num_kv_heads;
    if (!is_value) {
      turn(low, high, cosines, sines);
      low.store(from);
      high.store(from + half);
    }
    if (head >= num_heads && slot >= 0) {
      __nv_bfloat16* cache = is_value ? values : keys;
      const int kv_head = head - num_heads - (is_value ? num_kv_heads : 0);
      low.store(cache + kv_element(block, kv_head, offset, column, num_kv_heads, block_size,
                                   head_dim));
      high.store(cache + kv_element(block, kv_head, offset, column + half, num_kv_heads,
                                    block_size, head_dim));
    }
  }
}

}  // namespace

extern "C" __global__ void rope_and_cache_kv_bf16(
    __nv_bfloat16* qkv,  // [T, (H + 2G) d]
    __nv_bfloat16* keys, __nv_bfloat16* values,
    const float* table,    // [positions, d]: d/2 cosines, then d/2 sines
    const int* positions,  // [T]
    const int* slots,      // [T]
    int num_heads, int num_kv_heads, int head_dim, int block_size) {
  const int token = blockIdx.x;
  const float* angles = table + static_cast<size_t>(positions[token]) * head_dim;
  __nv_bfloat16* row = qkv + static_cast<size_t>(token) * (num_heads + 2 * num_kv_heads) * head_dim;
  if (head_dim / 2 % 8 == 0) {
    rope_and_cache<8>(row, keys, values, angles, slots[token], num_heads, num_kv_heads, head_dim,
                      block_size);
  } else {
    rope_and_cache<1>(row, keys, values, angles, slots[token], num_heads, num_kv_heads, head_dim,
                      block_size);
  }
}
