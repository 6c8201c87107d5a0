// Causal softmax attention over the paged KV cache. Called by Kernels.pagedAttention.
//
//   paged_attention_prefill_bf16_d*   sequences with several new tokens: 64 (token, head) rows a
//                                     block; with all_sequences those with one new token too
//   paged_attention_decode_bf16_d*    sequences with one new token: a block takes one KV head's
//                                     group and one split of split_tokens positions
//   paged_attention_combine_bf16      merges a decode row's splits, in order
//
// T tokens, S sequences, H query heads, G KV heads, d head dim (even), padded to d* with zeros. A
// query at position p sees p and what is before it, at most `window` positions if window > 0. Splits
// start at multiples of split_tokens, so a row's result depends on its own length alone. A sequence
// with no tokens in its context gets zeros. bf16 operands, fp32 sums.

#include "flash_attention.cuh"

namespace {

struct Batch {
  const int* cu_seq_lens;   // [S + 1]
  const int* context_lens;  // [S]
  const int* block_tables;  // [S, max_blocks]
  int num_seqs;
  int max_blocks;
};

struct Shape {
  int num_heads;
  int num_kv_heads;
  int head_dim;
  int window;
  float scale;

  __device__ __forceinline__ int group() const { return num_heads / num_kv_heads; }
  __device__ __forceinline__ int first_visible(int position) const {
    return window == 0 ? 0 : max(0, position - window + 1);
  }
};

// Query rows into shared memory; row r of the tile is (token, head) with
// pair = first_pair + r = token * group + head, and zeros from `pairs` on.
template <typename Tile>
__device__ __forceinline__ void load_queries(unsigned char* shared, const __nv_bfloat16* qkv,
                                             const Shape& shape, int first_token, int kv_head,
                                             int first_pair, int pairs) {
  const int width = (shape.num_heads + 2 * shape.num_kv_heads) * shape.head_dim;
  for (int at = threadIdx.x; at < Tile::kRows * Tile::kDim / 2; at += Tile::kThreads) {
    const int r = at / (Tile::kDim / 2);
    const int i = at % (Tile::kDim / 2) * 2;
    const int pair = first_pair + r;
    uint32_t two = 0;
    if (pair < pairs && i < shape.head_dim) {
      const size_t token = first_token + pair / shape.group();
      const int head = kv_head * shape.group() + pair % shape.group();
      two = *reinterpret_cast<const uint32_t*>(qkv + token * width + head * shape.head_dim + i);
    }
    *reinterpret_cast<uint32_t*>(shared + Tile::offset(r, i / kChunk) + i % kChunk * 2) = two;
  }
}

template <typename Tile>
__device__ __forceinline__ void prefill(__nv_bfloat16* out, const __nv_bfloat16* qkv, PagedKv kv,
                                        const Batch& batch, const Shape& shape,
                                        bool all_sequences) {
  extern __shared__ __align__(128) unsigned char shared[];
  const int group = shape.group();
  int tile = blockIdx.x;
  int seq = 0;
  int first_token = 0;
  int new_tokens = 0;
  for (;; seq++) {  // every thread walks the sequences: they are few, and in L1
    if (seq == batch.num_seqs) {
      return;
    }
    first_token = batch.cu_seq_lens[seq];
    new_tokens = batch.cu_seq_lens[seq + 1] - first_token;
    const int tiles = !all_sequences && new_tokens == 1
                          ? 0
                          : (new_tokens * group + Tile::kRows - 1) / Tile::kRows;
    if (tile < tiles) {
      tile = tiles - 1 - tile;  // the longest rows first
      break;
    }
    tile -= tiles;
  }
  const int first_pair = tile * Tile::kRows;
  const int pairs = new_tokens * group;
  const int first_position = batch.context_lens[seq] - new_tokens;
  kv.block_table = batch.block_tables + static_cast<size_t>(seq) * batch.max_blocks;
  kv.head = blockIdx.y;
  load_queries<Tile>(shared, qkv, shape, first_token, kv.head, first_pair, pairs);

  const int lane = threadIdx.x % kWarpSize;
  const int warp_pair = first_pair + threadIdx.x / kWarpSize * 16 + lane / 4;
  int first_visible[2];
  int last_visible[2];
#pragma unroll
  for (int r = 0; r < 2; r++) {
    const int pair = warp_pair + r * 8;
    const int position = pair < pairs ? first_position + pair / group : -1;
    first_visible[r] = shape.first_visible(position);
    last_visible[r] = position;
  }
  const int last_pair = min(pairs, first_pair + Tile::kRows) - 1;
  AttentionState<Tile> state;
  attend<Tile>(state, shared, kv, shape.first_visible(first_position + first_pair / group),
               first_position + last_pair / group, first_visible, last_visible,
               shape.scale * CUDART_L2E_F);
#pragma unroll
  for (int r = 0; r < 2; r++) {
    const int pair = warp_pair + r * 8;
    if (pair >= pairs) {
      continue;
    }
    const size_t token = first_token + pair / group;
    const int head = kv.head * group + pair % group;
    __nv_bfloat16* row = out + (token * shape.num_heads + head) * shape.head_dim;
    const float scale = state.sum[r] > 0.0f ? 1.0f / state.sum[r] : 0.0f;
#pragma unroll
    for (int n = 0; n < Tile::kDim / 8; n++) {
      const int i = n * 8 + lane % 4 * 2;
      if (i < shape.head_dim) {
        *reinterpret_cast<uint32_t*>(row + i) =
            pack_bf16(state.out[n][r * 2] * scale, state.out[n][r * 2 + 1] * scale);
      }
    }
  }
}

// Partial results of one (sequence, query head, split): d sums, then the maximum, then the sum.
__device__ __forceinline__ size_t partial_at(int seq, int head, int split, int num_heads,
                                             int num_splits, int head_dim) {
  return ((static_cast<size_t>(seq) * num_heads + head) * num_splits + split) * (head_dim + 2);
}

template <typename Tile>
__device__ __forceinline__ void decode(__nv_bfloat16* out, float* partials,
                                       const __nv_bfloat16* qkv, PagedKv kv, const Batch& batch,
                                       const Shape& shape, int split_tokens) {
  extern __shared__ __align__(128) unsigned char shared[];
  const int group = shape.group();
  const int head_tiles = (group + 15) / 16;
  const int seq = blockIdx.z;
  const int split = blockIdx.x;
  const int num_splits = gridDim.x;
  const int first_token = batch.cu_seq_lens[seq];
  const int position = batch.context_lens[seq] - 1;
  const int first = max(shape.first_visible(position), split * split_tokens);
  const int last = min(position, (split + 1) * split_tokens - 1);
  if (batch.cu_seq_lens[seq + 1] - first_token != 1 || (first > last && num_splits > 1)) {
    return;
  }
  kv.block_table = batch.block_tables + static_cast<size_t>(seq) * batch.max_blocks;
  kv.head = blockIdx.y / head_tiles;
  const int first_head = blockIdx.y % head_tiles * 16;
  load_queries<Tile>(shared, qkv, shape, first_token, kv.head, first_head, group);
  const int first_visible[2] = {first, first};
  const int last_visible[2] = {last, last};
  AttentionState<Tile> state;
  attend<Tile>(state, shared, kv, first, last, first_visible, last_visible,
               shape.scale * CUDART_L2E_F);

  // Merge the warps, each of which has seen a part of every tile.
  __syncthreads();
  float* merged = reinterpret_cast<float*>(shared);  // [warps][16][kDim + 2]
  const int lane = threadIdx.x % kWarpSize;
  const int warp = threadIdx.x / kWarpSize;
#pragma unroll
  for (int r = 0; r < 2; r++) {
    float* row = merged + (warp * 16 + lane / 4 + r * 8) * (Tile::kDim + 2);
#pragma unroll
    for (int n = 0; n < Tile::kDim / 8; n++) {
      row[n * 8 + lane % 4 * 2] = state.out[n][r * 2];
      row[n * 8 + lane % 4 * 2 + 1] = state.out[n][r * 2 + 1];
    }
    if (lane % 4 == 0) {
      row[Tile::kDim] = state.max[r];
      row[Tile::kDim + 1] = state.sum[r];
    }
  }
  __syncthreads();
  const int heads = min(16, group - first_head);
  for (int at = threadIdx.x; at < heads * shape.head_dim; at += Tile::kThreads) {
    const int r = at / shape.head_dim;
    const int i = at % shape.head_dim;
    float max = -CUDART_INF_F;
    for (int w = 0; w < Tile::kWarpsN; w++) {
      max = fmaxf(max, merged[(w * 16 + r) * (Tile::kDim + 2) + Tile::kDim]);
    }
    float value = 0.0f;
    float sum = 0.0f;
    for (int w = 0; w < Tile::kWarpsN; w++) {
      const float* row = merged + (w * 16 + r) * (Tile::kDim + 2);
      const float share = row[Tile::kDim] == -CUDART_INF_F ? 0.0f : exp2f(row[Tile::kDim] - max);
      value = fmaf(share, row[i], value);
      sum = fmaf(share, row[Tile::kDim + 1], sum);
    }
    const int head = kv.head * group + first_head + r;
    if (num_splits == 1) {
      out[(static_cast<size_t>(first_token) * shape.num_heads + head) * shape.head_dim + i] =
          __float2bfloat16(sum > 0.0f ? value / sum : 0.0f);
    } else {
      float* partial =
          partials + partial_at(seq, head, split, shape.num_heads, num_splits, shape.head_dim);
      partial[i] = value;
      if (i == 0) {
        partial[shape.head_dim] = max;
        partial[shape.head_dim + 1] = sum;
      }
    }
  }
}

}  // namespace

#define PREFILL(NAME, TILE)                                                                       \
  extern "C" __global__ void __launch_bounds__(TILE::kThreads)                                    \
      NAME(__nv_bfloat16* out, const __nv_bfloat16* qkv, const __nv_bfloat16* keys,               \
           const __nv_bfloat16* values, int block_size, const int* cu_seq_lens,                   \
           const int* context_lens, const int* block_tables, int num_seqs, int max_blocks,        \
           int num_heads, int num_kv_heads, int head_dim, int window, float scale,                \
           int all_sequences) {                                                                   \
    prefill<TILE>(out, qkv, {keys, values, nullptr, block_size, num_kv_heads, 0, head_dim},      \
                  {cu_seq_lens, context_lens, block_tables, num_seqs, max_blocks},                \
                  {num_heads, num_kv_heads, head_dim, window, scale}, all_sequences != 0);        \
  }

#define DECODE(NAME, TILE)                                                                        \
  extern "C" __global__ void __launch_bounds__(TILE::kThreads)                                    \
      NAME(__nv_bfloat16* out, float* partials, const __nv_bfloat16* qkv,                         \
           const __nv_bfloat16* keys, const __nv_bfloat16* values, int block_size,                \
           const int* cu_seq_lens, const int* context_lens, const int* block_tables,              \
           int num_seqs, int max_blocks, int num_heads, int num_kv_heads, int head_dim,           \
           int window, float scale, int split_tokens) {                                           \
    decode<TILE>(out, partials, qkv,                                                              \
                 {keys, values, nullptr, block_size, num_kv_heads, 0, head_dim},                 \
                 {cu_seq_lens, context_lens, block_tables, num_seqs, max_blocks},                 \
                 {num_heads, num_kv_heads, head_dim, window, scale}, split_tokens);               \
  }

// Grid: (upper bound of the tiles, G) and (splits, G * ceil(H / G / 16), S).
using Prefill32 = AttentionTile<32, 4, 1, 64>;
using Prefill64 = AttentionTile<64, 4, 1, 64>;
using Prefill128 = AttentionTile<128, 4, 1, 64>;
#if __CUDA_ARCH__ >= 1000
using Prefill256 = AttentionTile<256, 4, 1, 16>;  // with 32 it would spill there
#else
using Prefill256 = AttentionTile<256, 4, 1, 32>;
#endif
using Decode32 = AttentionTile<32, 1, 4, 64>;
using Decode64 = AttentionTile<64, 1, 4, 64>;
using Decode128 = AttentionTile<128, 1, 4, 64>;
using Decode256 = AttentionTile<256, 1, 2, 32>;
PREFILL(paged_attention_prefill_bf16_d32, Prefill32)
PREFILL(paged_attention_prefill_bf16_d64, Prefill64)
PREFILL(paged_attention_prefill_bf16_d128, Prefill128)
PREFILL(paged_attention_prefill_bf16_d256, Prefill256)
DECODE(paged_attention_decode_bf16_d32, Decode32)
DECODE(paged_attention_decode_bf16_d64, Decode64)
DECODE(paged_attention_decode_bf16_d128, Decode128)
DECODE(paged_attention_decode_bf16_d256, Decode256)

// Grid: (H, S). Splits that the sequence's length or window leaves empty were never written.
extern "C" __global__ void paged_attention_combine_bf16(__nv_bfloat16* out, const float* partials,
                                                        const int* cu_seq_lens,
                                                        const int* context_lens, int num_heads,
                                                        int num_splits, int head_dim, int window,
                                                        int split_tokens) {
  const int head = blockIdx.x;
  const int seq = blockIdx.y;
  const int token = cu_seq_lens[seq];
  if (cu_seq_lens[seq + 1] - token != 1) {
    return;
  }
  const int position = context_lens[seq] - 1;
  const int first_visible = window == 0 ? 0 : max(0, position - window + 1);
  const int first = first_visible / split_tokens;
  const int last = position < 0 ? -1 : position / split_tokens;
  const size_t base = partial_at(seq, head, 0, num_heads, num_splits, head_dim);
  float max = -CUDART_INF_F;
  for (int split = first; split <= last; split++) {
    max = fmaxf(max, partials[base + static_cast<size_t>(split) * (head_dim + 2) + head_dim]);
  }
  for (int i = threadIdx.x; i < head_dim; i += blockDim.x) {
    float value = 0.0f;
    float sum = 0.0f;
    for (int split = first; split <= last; split++) {
      const float* partial = partials + base + static_cast<size_t>(split) * (head_dim + 2);
      const float share = exp2f(partial[head_dim] - max);
      value = fmaf(share, partial[i], value);
      sum = fmaf(share, partial[head_dim + 1], sum);
    }
    out[(static_cast<size_t>(token) * num_heads + head) * head_dim + i] =
        __float2bfloat16(sum > 0.0f ? value / sum : 0.0f);
  }
}
