// The projections of a decode step of at most 8 tokens, for weights of any format; what they do and
// how they are launched stands in kernels/decode_linear.cu.
#pragma once

#include "decode_stream.cuh"
#include "kv_layout.cuh"

// Weight rows in order: unit u is rows 16 u to 16 u + 15.
constexpr int kPlainGap = 8 * kRowBytes;

__device__ __forceinline__ UnitAt plain_unit(int unit, int k_tiles) {
  return unit_at(static_cast<size_t>(unit / 8) * k_tiles, unit % 8 * 16);
}

// Units of this block: blockIdx.x, blockIdx.x + gridDim.x, ... below `units`.
__device__ __forceinline__ int own_units(int units) {
  const int first = blockIdx.x;
  return first < units ? (units - first - 1) / static_cast<int>(gridDim.x) + 1 : 0;
}

__device__ __forceinline__ int unit_of(int i) { return blockIdx.x + i * gridDim.x; }

// What RoPE and the cache need of each token, loaded while weights are underway: at the end of the
// kernel three dependent loads would be waited for. Angles of the block's first units.
struct TokenPlaces {
  static constexpr int kUnits = 4;
  int slot[kDecodeTokens];
  float2 angle[kUnits][kDecodeTokens][8];  // cosine and sine
};

template <int kHeadDim, class Weights>
__device__ __forceinline__ void decode_qkv(__nv_bfloat16* queries, int query_stride, __nv_bfloat16* keys,
                                    __nv_bfloat16* values, const float* residual,
                                    const __nv_bfloat16* gain, float eps,
                                    const Weights& weights, const float* rope_table,
                                    const int* positions, const int* slots, int tokens, int hidden,
                                    int heads, int kv_heads, int block_size) {
  // Row pairs i and i + d/2 of a head make a unit: what RoPE turns together is in one thread.
  constexpr int kUnitsPerHead = kHeadDim / 16;
  constexpr int kHalf = kHeadDim / 2;
  extern __shared__ __align__(16) char shared_tokens[];
  __shared__ UnitSums<Weights::kUnits> sums;
  __shared__ SquareSums squares;
  __shared__ TokenPlaces places;
  const int k_tiles = ceil_div(hidden, Weights::kTileColumns);
  const int lane = threadIdx.x % kWarpSize;
  const auto base = [&](int i) {
    const int unit = unit_of(i);
    const int row = unit / kUnitsPerHead * kHeadDim + unit % kUnitsPerHead * 8;
    return unit_at(static_cast<size_t>(row / kTileRows) * k_tiles, row % kTileRows);
  };
  const int count = own_units((heads + 2 * kv_heads) * kUnitsPerHead);
  WeightStream<Weights, kHalf * kRowBytes> stream(weights, k_tiles);
  stream.start(count, base);
  if (threadIdx.x < tokens) {
    places.slot[threadIdx.x] = slots[threadIdx.x];
  }
  const auto angle_of = [&](int i, int token, int column) {
    const float* angles = rope_table + static_cast<size_t>(max(0, positions[token])) * kHeadDim +
                          unit_of(i) % kUnitsPerHead * 8 + column;
    return make_float2(angles[0], angles[kHalf]);
  };
  for (int i = threadIdx.x; i < min(count, TokenPlaces::kUnits) * tokens * 8; i += kDecodeThreads) {
    const int token = i / 8 % tokens;
    const int unit = i / 8 / tokens;
    places.angle[unit][token][i % 8] = angle_of(unit, token, i % 8);
  }
  prefetch_gain(gain, hidden);
  wait_for_predecessor();
  release_successor();
  load_normed<Weights>(shared_tokens, squares, residual, nullptr, gain, hidden, k_tiles, tokens);
  __syncthreads();
  stream.run(
      count, lane_token_row<Weights>(shared_tokens, k_tiles, tokens, lane), sums, base,
      [&](int i, float4 sum) {
        const int unit = unit_of(i);
        const int head = unit / kUnitsPerHead;
        const int column = unit % kUnitsPerHead * 8 + lane / 4;
#pragma unroll
        for (int c = 0; c < 2; c++) {
          const int token = lane % 4 * 2 + c;
          if (token >= tokens) {
            continue;
          }
          const int slot = places.slot[token];
          const float scale = normed_scale(squares, token, eps, hidden) * Weights::kSumFactor;
          float low = (c == 0 ? sum.x : sum.y) * scale;
          float high = (c == 0 ? sum.z : sum.w) * scale;
          if (head < heads + kv_heads && slot >= 0) {
            const float2 angle = i < TokenPlaces::kUnits ? places.angle[i][token][lane / 4]
                                                         : angle_of(i, token, lane / 4);
            const float turned = low * angle.x - high * angle.y;
            high = high * angle.x + low * angle.y;
            low = turned;
          }
          if (head < heads) {
            __nv_bfloat16* to =
                queries + static_cast<size_t>(token) * query_stride + head * kHeadDim + column;
            to[0] = __float2bfloat16(low);
            to[kHalf] = __float2bfloat16(high);
          } else if (slot >= 0) {
            const bool is_key = head < heads + kv_heads;
            __nv_bfloat16* cache = is_key ? keys : values;
            const int kv_head = head - heads - (is_key ? 0 : kv_heads);
            const int block = slot / block_size;
            const int at = slot % block_size;
            cache[kv_element(block, kv_head, at, column, kv_heads, block_size, kHeadDim)] =
                __float2bfloat16(low);
            cache[kv_element(block, kv_head, at, column + kHalf, kv_heads, block_size, kHeadDim)] =
                __float2bfloat16(high);
          }
        }
      });
}

template <class Weights>
__device__ __forceinline__ void decode_add_linear(float* residual, const __nv_bfloat16* x,
                                                  const Weights& weights, int tokens, int n,
                                                  int m) {
  extern __shared__ __align__(16) char shared_tokens[];
  __shared__ UnitSums<Weights::kUnits> sums;
  __shared__ ResidualRows own;
  const int k_tiles = ceil_div(m, Weights::kTileColumns);
  const int lane = threadIdx.x % kWarpSize;
  const auto base = [&](int i) { return plain_unit(unit_of(i), k_tiles); };
  const int count = own_units(n / 16);
  WeightStream<Weights, kPlainGap> stream(weights, k_tiles);
  stream.start(count, base);
  wait_for_predecessor();
  release_successor();
  own.load(residual, n, tokens, count, [&](int i) { return unit_of(i) * 16; });
  copy_rows<Weights>(shared_tokens, x, m, k_tiles, tokens);
  __syncthreads();
  stream.run(count, lane_token_row<Weights>(shared_tokens, k_tiles, tokens, lane), sums, base,
             [&](int i, float4 sum) {
               const int row = lane / 4;
#pragma unroll
               for (int c = 0; c < 2; c++) {
                 const int token = lane % 4 * 2 + c;
                 if (token < tokens) {
                   float* to = residual + static_cast<size_t>(token) * n + unit_of(i) * 16 + row;
                   own.add(to, i, tokens, token, row, (c == 0 ? sum.x : sum.y) * Weights::kSumFactor);
                   own.add(to + 8, i, tokens, token, row + 8,
                           (c == 0 ? sum.z : sum.w) * Weights::kSumFactor);
                 }
               }
             });
}

template <class Weights>
__device__ __forceinline__ void decode_lm_head(float* logits, const float* residual,
                                               const int* row_ids, const __nv_bfloat16* gain,
                                               const Weights& weights, float eps, int rows,
                                               int hidden, int vocabulary) {
  extern __shared__ __align__(16) char shared_tokens[];
  __shared__ UnitSums<Weights::kUnits> sums;
  __shared__ SquareSums squares;
  const int k_tiles = ceil_div(hidden, Weights::kTileColumns);
  const int lane = threadIdx.x % kWarpSize;
  const auto base = [&](int i) { return plain_unit(unit_of(i), k_tiles); };
  const int count = own_units(vocabulary / 16);
  WeightStream<Weights, kPlainGap> stream(weights, k_tiles);
  stream.start(count, base);
  prefetch_gain(gain, hidden);
  wait_for_predecessor();
  release_successor();
  load_normed<Weights>(shared_tokens, squares, residual, row_ids, gain, hidden, k_tiles, rows);
  __syncthreads();
  stream.run(count, lane_token_row<Weights>(shared_tokens, k_tiles, rows, lane), sums, base,
             [&](int i, float4 sum) {
               const int row = unit_of(i) * 16 + lane / 4;
#pragma unroll
               for (int c = 0; c < 2; c++) {
                 const int token = lane % 4 * 2 + c;
                 if (token < rows) {
                   const float scale = normed_scale(squares, token, eps, hidden) * Weights::kSumFactor;
                   float* to = logits + static_cast<size_t>(token) * vocabulary + row;
                   to[0] = (c == 0 ? sum.x : sum.y) * scale;
                   to[8] = (c == 0 ? sum.z : sum.w) * scale;
                 }
               }
             });
}
