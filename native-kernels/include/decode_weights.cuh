// How the kernels of a small decode batch read weights, bf16 or FP8: a lane's share of 16 weight
// rows x one k tile in registers, and its product with 8 tokens in shared memory. A format says how
// many columns a tile has, in which order tokens must stand to meet them, and what comes with the
// codes. A k tile is always 128 bytes wide, so loads and their addresses are the same for all.
#pragma once

#include <type_traits>

#include "decode_tokens.cuh"
#include "fp8_codes.cuh"

// Rows l / 4 and l / 4 + gap, both halves of their 128 bytes.
struct WeightSlice {
  uint4 low[2];
  uint4 high[2];
};

// Bytes from the first row of a unit within a tile to the lane's chunk of half 0.
__device__ __forceinline__ int lane_offset(int lane) { return swizzled_bytes(lane / 4, lane % 4); }

// `at` is the lane's half-0 chunk; `other` (64 or -64) leads to half 1 and `gap` to the high row.
__device__ __forceinline__ void load_slice(WeightSlice& slice, const char* at, int other, int gap) {
  slice.low[0] = load_weights(at);
  slice.high[0] = load_weights(at + gap);
  slice.low[1] = load_weights(at + other);
  slice.high[1] = load_weights(at + other + gap);
}

// 16 rows of a weight: the row they begin with when its k tile 0 is the first of the rows of all
// tiles, one tile after the other. 32 bits, because several are kept while registers are scarce.
struct UnitAt {
  int row = -1;
  __device__ __forceinline__ bool exists() const { return row >= 0; }
};

__device__ __forceinline__ UnitAt unit_at(size_t tile, int row) {
  return {static_cast<int>(tile * kTileRows) + row};
}

// What tokens in shared memory (and down's h) are multiplied with, and what is left for the sums.
struct PlainTokens {
  static constexpr float kTokenFactor = 1.0f;
  static constexpr float kSumFactor = 1.0f;
};

struct BareCodeTokens {
  static constexpr float kTokenFactor = kBareCodeTokens;
  static constexpr float kSumFactor = kBareCodeSums;
};

struct Bf16Weights : PlainTokens {
  static constexpr int kTileColumns = kTileK;
  static constexpr int kUnits = 1;  // worked on at once: K = 4096 is four tiles of each warp
  static constexpr bool kTokensAhead = true;
  static constexpr int kRouterAhead = 4;  // of the router's tiles, loaded together
  const char* tiles;

  __device__ __forceinline__ explicit Bf16Weights(const char* tiles) : tiles(tiles) {}

  struct Part {
    WeightSlice slice;
  };

  static __host__ __device__ constexpr int token_order(int k) { return k; }

  // k tile `k` of the unit; `offset` is the lane's.
  __device__ __forceinline__ void load(Part& part, UnitAt unit, int k, int offset, int other,
                                       int gap) const {
    const size_t row = unit.row + k * kTileRows;
    load_slice(part.slice, tiles + row * kRowBytes + offset, other, gap);
  }

  // acc[u][16 rows, 8 tokens] += part * tokens. tokens(h) is the lane's chunk 4 h + l % 4 of token
  // l / 4.
  template <int kCount, class Tokens>
  static __device__ __forceinline__ void multiply(float (&acc)[kCount][4],
                                                  const Part (&parts)[kCount],
                                                  const Tokens& tokens) {
#pragma unroll
    for (int h = 0; h < 2; h++) {
      const uint4 b = tokens(h);
#pragma unroll
      for (int u = 0; u < kCount; u++) {
        const uint4 low = parts[u].slice.low[h];
        const uint4 high = parts[u].slice.high[h];
        mma_bf16(acc[u], low.x, high.x, low.y, high.y, b.x, b.y);
        mma_bf16(acc[u], low.z, high.z, low.w, high.w, b.z, b.w);
      }
    }
  }
};

// One k16 step of codes: a word of four of each row.
template <bool kMx>
__device__ __forceinline__ void multiply_codes(float (&acc)[4], uint32_t low, uint32_t high,
                                               uint32_t low_factor, uint32_t high_factor,
                                               uint32_t b0, uint32_t b1) {
  if constexpr (kMx) {
    mma_bf16(acc, even_codes(low, low_factor), even_codes(high, high_factor),
             odd_codes(low, low_factor), odd_codes(high, high_factor), b0, b1);
  } else {
    mma_bf16(acc, bare_even_codes(low), bare_even_codes(high), bare_odd_codes(low),
             bare_odd_codes(high), b0, b1);
  }
}

// kMx: exponents of 32 columns of a row, which are in the codes' factor; else a factor of eight rows of
// the tile, and bare codes.
template <bool kMx>
struct Fp8Weights : std::conditional_t<kMx, PlainTokens, BareCodeTokens> {
  static constexpr int kTileColumns = kCodeColumns;
  static constexpr int kUnits = 2;  // K = 4096 is two tiles of each warp: two units fill its ring
  static constexpr bool kTokensAhead = false;
  static constexpr int kRouterAhead = kMx ? 3 : 4;  // with exponents a fourth would spill
  const char* tiles;
  const char* scales;

  __device__ __forceinline__ Fp8Weights(const char* tiles, const char* scales)
      : tiles(tiles), scales(scales) {}

  struct Part {
    WeightSlice slice;
    uint2 scales;  // of the low and the high row
  };

  static __host__ __device__ constexpr int token_order(int k) { return code_token_order(k); }

  __device__ __forceinline__ void load(Part& part, UnitAt unit, int k, int offset, int other,
                                       int gap) const {
    const size_t row = unit.row + k * kTileRows;
    load_slice(part.slice, tiles + row * kRowBytes + offset, other, gap);
    if constexpr (kMx) {
      const char* at = scales + (row + threadIdx.x % kWarpSize / 4) * 4;
      part.scales = make_uint2(load_word(at), load_word(at + gap / kRowBytes * 4));
    } else {
      const char* at = scales + row / kScaleRows * sizeof(float);
      if (gap == kScaleRows * kRowBytes) {
        part.scales = load_two_words(at);
      } else {
        part.scales =
            make_uint2(load_word(at), load_word(at + gap / (kScaleRows * kRowBytes) * sizeof(float)));
      }
    }
  }

  // tokens(h): the lane's 8 columns of 32 h to 32 h + 31, in code_token_order.
  template <int kCount, class Tokens>
  static __device__ __forceinline__ void multiply(float (&acc)[kCount][4],
                                                  const Part (&parts)[kCount],
                                                  const Tokens& tokens) {
    float sum[kCount][4] = {};
#pragma unroll
    for (int h = 0; h < 4; h++) {
      const uint4 b = tokens(h);
#pragma unroll
      for (int u = 0; u < kCount; u++) {
        const uint4 low4 = parts[u].slice.low[h / 2];
        const uint4 high4 = parts[u].slice.high[h / 2];
        const uint2 low = h % 2 == 0 ? make_uint2(low4.x, low4.y) : make_uint2(low4.z, low4.w);
        const uint2 high = h % 2 == 0 ? make_uint2(high4.x, high4.y) : make_uint2(high4.z, high4.w);
        const uint32_t low_factor = kMx ? mx_factor(parts[u].scales.x, h) : 0;
        const uint32_t high_factor = kMx ? mx_factor(parts[u].scales.y, h) : 0;
        float(&to)[4] = kMx ? acc[u] : sum[u];
        multiply_codes<kMx>(to, low.x, high.x, low_factor, high_factor, b.x, b.y);
        multiply_codes<kMx>(to, low.y, high.y, low_factor, high_factor, b.z, b.w);
      }
    }
    if constexpr (!kMx) {
#pragma unroll
      for (int u = 0; u < kCount; u++) {
        const float low = __uint_as_float(parts[u].scales.x);
        const float high = __uint_as_float(parts[u].scales.y);
        acc[u][0] = fmaf(low, sum[u][0], acc[u][0]), acc[u][1] = fmaf(low, sum[u][1], acc[u][1]);
        acc[u][2] = fmaf(high, sum[u][2], acc[u][2]), acc[u][3] = fmaf(high, sum[u][3], acc[u][3]);
      }
    }
  }
};
