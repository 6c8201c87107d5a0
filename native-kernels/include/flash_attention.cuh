// Softmax attention of up to kWarpsM * 16 query rows over a range of one sequence's cached keys, by
// tiles of kKeys keys (Dao et al. 2022, "FlashAttention"): running maximum and sum per row, bf16
// operands, fp32 scores, sums and output.
//
// A query row is a (token, head) pair of one KV head's group (H / G heads share it), so that keys
// are read once for the whole group. kWarpsM warps own 16 rows each; kWarpsN warps share a tile's
// keys and are merged at the end in a fixed order.
//
// Tiles start at multiples of kKeys from the sequence's first token: a row's result does not depend
// on the rows beside it. Head dims below kDim are padded with zeros in shared memory.
#pragma once

#include <math_constants.h>

#include "kv_layout.cuh"
#include "mma.cuh"

// Paged keys and values of one layer: kv_layout.cuh.
struct PagedKv {
  const __nv_bfloat16* keys;
  const __nv_bfloat16* values;
  const int* block_table;  // of the one sequence
  int block_size;
  int num_kv_heads;
  int head;
  int head_dim;

  __device__ __forceinline__ size_t element(int position, int column) const {
    return kv_element(block_table[position / block_size], head, position % block_size, column,
                      num_kv_heads, block_size, head_dim);
  }
};

template <int kDim_, int kWarpsM_, int kWarpsN_, int kKeys_>
struct AttentionTile {
  static constexpr int kDim = kDim_;
  static constexpr int kWarpsM = kWarpsM_;
  static constexpr int kWarpsN = kWarpsN_;
  static constexpr int kKeys = kKeys_;
  static constexpr int kRows = kWarpsM * 16;
  static constexpr int kThreads = kWarpsM * kWarpsN * kWarpSize;
  static constexpr int kWarpKeys = kKeys / kWarpsN;
  static constexpr int kChunks = kDim / kChunk;  // 16-byte chunks of a row
  static constexpr int kRowBytes = kDim * 2;
  static constexpr int kQueryBytes = kRows * kRowBytes;
  static constexpr int kTileBytes = kKeys * kRowBytes;
  static constexpr int kSharedBytes = kQueryBytes + 4 * kTileBytes;  // two stages of keys, values
  static constexpr int kMergeBytes = (kWarpsN == 1) ? 0 : kWarpsN * 16 * (kDim + 2) * 4;
  static_assert((kDim & (kDim - 1)) == 0 && kDim >= 32, "chunks are swizzled by powers of two");
  static_assert(kWarpKeys % 16 == 0, "a warp multiplies by 16 values at a time");
  static_assert(kWarpsM == 1 || kWarpsN == 1, "either rows or keys are shared out");
  static_assert(kSharedBytes <= 99 * 1024, "sm_89 gives a block 99 KB of shared memory");
  static_assert(kMergeBytes <= kSharedBytes, "the merge reuses the tiles' space");

  static __device__ __forceinline__ uint32_t offset(int r, int chunk) {
    constexpr int kMask = kChunks < 8 ? kChunks - 1 : 7;
    return r * kRowBytes + ((chunk ^ (r & kMask)) << 4);
  }
};

// One warp's rows: lane l holds rows l / 4 and l / 4 + 8.
template <typename Tile>
struct AttentionState {
  float out[Tile::kDim / 8][4];
  float max[2];  // in units of log2
  float sum[2];

  __device__ __forceinline__ void clear() {
#pragma unroll
    for (int n = 0; n < Tile::kDim / 8; n++) {
#pragma unroll
      for (int i = 0; i < 4; i++) {
        out[n][i] = 0.0f;
      }
    }
    max[0] = max[1] = -CUDART_INF_F;
    sum[0] = sum[1] = 0.0f;
  }
};

template <typename Tile>
__device__ __forceinline__ void load_keys(uint32_t keys, uint32_t values, const PagedKv& kv,
                                          int start, int first, int last) {
  for (int at = threadIdx.x; at < Tile::kKeys * Tile::kChunks; at += Tile::kThreads) {
    const int r = at / Tile::kChunks;
    const int chunk = at % Tile::kChunks;
    const int position = start + r;
    const bool inside = position >= first && position <= last && chunk * kChunk < kv.head_dim;
    // Zeros outside the range: what stands there may be NaN, and 0 * NaN would spoil the sums.
    const size_t element = inside ? kv.element(position, chunk * kChunk) : 0;
    copy_async(keys + Tile::offset(r, chunk), kv.keys + element, inside ? 16 : 0);
    copy_async(values + Tile::offset(r, chunk), kv.values + element, inside ? 16 : 0);
  }
}

// Adds one tile's keys, of which this warp takes those from warp_key on. first_visible and
// last_visible: positions that the lane's two rows may see; last below first for rows that are not.
template <typename Tile>
__device__ __forceinline__ void attend_tile(AttentionState<Tile>& state, uint32_t queries,
                                            uint32_t keys, uint32_t values, int warp_row,
                                            int warp_key, int tile_start,
                                            const int (&first_visible)[2],
                                            const int (&last_visible)[2], float scale_log2) {
  constexpr int kColumns = Tile::kWarpKeys / 8;
  const int lane = threadIdx.x % kWarpSize;
  float scores[kColumns][4];
#pragma unroll
  for (int n = 0; n < kColumns; n++) {
#pragma unroll
    for (int i = 0; i < 4; i++) {
      scores[n][i] = 0.0f;
    }
  }
#pragma unroll
  for (int step = 0; step < Tile::kDim / 16; step++) {
    uint32_t query[4];
    load_matrices(query, queries + Tile::offset(warp_row + lane % 16, step * 2 + lane / 16));
#pragma unroll
    for (int n = 0; n < kColumns; n += 2) {
      uint32_t key[4];
      load_matrices(key, keys + Tile::offset(warp_key + n * 8 + lane / 16 * 8 + lane % 8,
                                             step * 2 + lane / 8 % 2));
      multiply_add(scores[n], query, key[0], key[1]);
      multiply_add(scores[n + 1], query, key[2], key[3]);
    }
  }

  float tile_max[2] = {-CUDART_INF_F, -CUDART_INF_F};
#pragma unroll
  for (int n = 0; n < kColumns; n++) {
#pragma unroll
    for (int i = 0; i < 4; i++) {
      const int position = tile_start + warp_key + n * 8 + lane % 4 * 2 + i % 2;
      const bool visible =
          position >= first_visible[i / 2] && position <= last_visible[i / 2];
      scores[n][i] = visible ? scores[n][i] * scale_log2 : -CUDART_INF_F;
      tile_max[i / 2] = fmaxf(tile_max[i / 2], scores[n][i]);
    }
  }
  float shrink[2];
  float base[2];
#pragma unroll
  for (int r = 0; r < 2; r++) {
    tile_max[r] = fmaxf(tile_max[r], __shfl_xor_sync(0xffffffffu, tile_max[r], 1));
    tile_max[r] = fmaxf(tile_max[r], __shfl_xor_sync(0xffffffffu, tile_max[r], 2));
    const float max = fmaxf(state.max[r], tile_max[r]);
    // A row that has seen nothing yet: -inf - -inf would be NaN.
    base[r] = max == -CUDART_INF_F ? 0.0f : max;
    shrink[r] = exp2f(state.max[r] - base[r]);
    state.max[r] = max;
    state.sum[r] *= shrink[r];
  }
#pragma unroll
  for (int n = 0; n < Tile::kDim / 8; n++) {
#pragma unroll
    for (int i = 0; i < 4; i++) {
      state.out[n][i] *= shrink[i / 2];
    }
  }
#pragma unroll
  for (int k = 0; k < Tile::kWarpKeys / 16; k++) {
    uint32_t weights[4];
#pragma unroll
    for (int j = 0; j < 4; j++) {
      const int n = k * 2 + j / 2;
      const int r = j % 2;
      const float low = exp2f(scores[n][r * 2] - base[r]);
      const float high = exp2f(scores[n][r * 2 + 1] - base[r]);
      weights[j] = pack_bf16(low, high);
      // The sum of the rounded weights: then they add up to 1 exactly where it counts.
      const float2 rounded =
          __bfloat1622float2(*reinterpret_cast<const __nv_bfloat162*>(&weights[j]));
      state.sum[r] += rounded.x + rounded.y;
    }
#pragma unroll
    for (int n = 0; n < Tile::kDim / 8; n += 2) {
      uint32_t value[4];
      load_matrices_transposed(
          value, values + Tile::offset(warp_key + k * 16 + lane % 16, n + lane / 16));
      multiply_add(state.out[n], weights, value[0], value[1]);
      multiply_add(state.out[n + 1], weights, value[2], value[3]);
    }
  }
}

// All tiles of [first, last], after which the lane's sums are those of the whole row. queries are in
// shared memory already; the block is synchronised before its first use.
template <typename Tile>
__device__ __forceinline__ void attend(AttentionState<Tile>& state, unsigned char* shared,
                                       const PagedKv& kv, int first, int last,
                                       const int (&first_visible)[2],
                                       const int (&last_visible)[2], float scale_log2) {
  const int warp = threadIdx.x / kWarpSize;
  const int warp_row = Tile::kWarpsN == 1 ? warp * 16 : 0;
  const int warp_key = Tile::kWarpsN == 1 ? 0 : warp * Tile::kWarpKeys;
  const uint32_t queries = shared_address(shared);
  const uint32_t tiles = queries + Tile::kQueryBytes;
  const int begin = first / Tile::kKeys * Tile::kKeys;
  state.clear();
  if (begin <= last) {
    load_keys<Tile>(tiles, tiles + Tile::kTileBytes, kv, begin, first, last);
  }
  commit_copies();
  int stage = 0;
  for (int start = begin; start <= last; start += Tile::kKeys, stage ^= 1) {
    wait_copies<0>();
    __syncthreads();  // this tile has arrived, and the one before has been read
    const uint32_t next = tiles + (stage ^ 1) * 2 * Tile::kTileBytes;
    if (start + Tile::kKeys <= last) {
      load_keys<Tile>(next, next + Tile::kTileBytes, kv, start + Tile::kKeys, first,
                      last);
    }
    commit_copies();
    const uint32_t keys = tiles + stage * 2 * Tile::kTileBytes;
    attend_tile<Tile>(state, queries, keys, keys + Tile::kTileBytes, warp_row, warp_key, start,
                      first_visible, last_visible, scale_log2);
  }
#pragma unroll
  for (int r = 0; r < 2; r++) {
    state.sum[r] += __shfl_xor_sync(0xffffffffu, state.sum[r], 1);
    state.sum[r] += __shfl_xor_sync(0xffffffffu, state.sum[r], 2);
  }
}
