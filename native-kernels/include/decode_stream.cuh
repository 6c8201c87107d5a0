// What the kernels of a small decode batch (at most 8 tokens) share. They read weights at memory
// speed with nothing between device memory and the matrix unit: a 16-byte load of a lane is the A
// fragment of two mma.sync m16n8k16 (weights are M, tokens are N), which fixes an order of K that
// the tokens follow. sm_80 and later.
//
// A block is 16 warps, one block a multiprocessor. A unit of work is 16 weight rows and all of K,
// of which warp w takes the k tiles w, w + 16, ... of tiled_layout.cuh. Each lane keeps 16 loads
// of 16 bytes in flight: 128 KB a multiprocessor, four times what 3 TB/s needs at 1 us.
//
// A lane l is row l / 4 and column pair l % 4 of a fragment. Its chunk of k tile and half h (0, 1)
// is 4 h + l % 4, 64 bytes from the other half's because the swizzle only flips bits.
#pragma once

#include "decode_weights.cuh"

// ---- tokens in shared memory --------------------------------------------------------------------

// Bytes of one token row in shared memory: bf16 of whole k tiles, padded so that 16-byte reads of
// eight rows do not meet in a bank.
template <class Weights>
__host__ __device__ __forceinline__ int token_row_bytes(int k_tiles) {
  return k_tiles * Weights::kTileColumns * 2 + kRowPad;
}

// Start of the lane's token row: lanes of tokens that do not exist read the last one, whose results
// nobody stores.
template <class Weights>
__device__ __forceinline__ const char* lane_token_row(const char* tokens, int k_tiles, int count,
                                                      int lane) {
  return tokens + min(lane / 4, count - 1) * token_row_bytes<Weights>(k_tiles) + lane % 4 * 16;
}

// ---- sums over the block's warps ----------------------------------------------------------------

// Each warp's accumulators of a unit.
using WarpSums = float4[kDecodeWarps][kWarpSize];

// Those of the units that are worked on at once, twice: while one set is summed the next is written.
template <int kUnits>
struct UnitSums {
  WarpSums of[2][kUnits];
};

__device__ __forceinline__ float4 sum_warps(const WarpSums& of, int lane) {
  float4 sum = of[0][lane];
#pragma unroll 3  // all at once would spill: the ring holds 64 registers of loads in flight
  for (int warp = 1; warp < kDecodeWarps; warp++) {
    const float4 v = of[warp][lane];
    sum.x += v.x, sum.y += v.y, sum.z += v.z, sum.w += v.w;
  }
  return sum;
}

// ---- the stream ---------------------------------------------------------------------------------

// Weights of one block's units through registers. kGap: bytes from a unit's low to its high rows.
// Units are numbered 0, 1, ... within the block; base(i) is where unit i lies. Weights::kUnits of
// them are worked on at once.
template <class Weights, int kGap>
class WeightStream {
 public:
  static constexpr int kUnits = Weights::kUnits;
  static constexpr int kSlots = 4;  // slices in flight: 16 loads a lane
  static constexpr int kDepth = kSlots / kUnits;

  __device__ __forceinline__ WeightStream(const Weights& weights, int k_tiles)
      : weights_(weights), warp_(threadIdx.x / kWarpSize), lane_(threadIdx.x % kWarpSize) {
    steps_ = k_tiles > warp_ ? ceil_div(k_tiles - warp_, kDecodeWarps) : 0;
    padded_steps_ = ceil_div(ceil_div(k_tiles, kDecodeWarps), kDepth) * kDepth;
    offset_ = lane_offset(lane_);
    other_ = (offset_ & 64) ? -64 : 64;
  }

  // Starts the loads of the first units. Nothing that other kernels write is touched.
  template <class Base>
  __device__ __forceinline__ void start(int count, const Base& base) {
#pragma unroll
    for (int u = 0; u < kUnits; u++) {
      const UnitAt unit = u < count ? base(u) : UnitAt{};
#pragma unroll
      for (int q = 0; q < kDepth; q++) {
        load(q, u, q, unit);
      }
    }
  }

  // After start: multiplies `count` units with the tokens in shared memory and calls finish(i,
  // sums) on one warp for each, in turn. Every thread of the block must call it.
  template <class Base, class Finish>
  __device__ __forceinline__ void run(int count, const char* token_row, UnitSums<kUnits>& sums,
                                      const Base& base, const Finish& finish) {
    UnitAt now[kUnits];
    UnitAt next[kUnits];
#pragma unroll
    for (int u = 0; u < kUnits; u++) {
      now[u] = u < count ? base(u) : UnitAt{};
    }
    int round = 0;
    for (int first = 0; first < count; first += kUnits, round ^= 1) {
#pragma unroll
      for (int u = 0; u < kUnits; u++) {
        next[u] = first + kUnits + u < count ? base(first + kUnits + u) : UnitAt{};
      }
      float acc[kUnits][4] = {};
      for (int step = 0; step < padded_steps_; step += kDepth) {
#pragma unroll
        for (int q = 0; q < kDepth; q++) {
          if (step + q < steps_) {
            const char* at =
                token_row + (warp_ + (step + q) * kDecodeWarps) * (Weights::kTileColumns * 2);
            Weights::multiply(acc, ring_[q],
                              [&](int h) { return *reinterpret_cast<const uint4*>(at + h * 64); });
          }
          const int ahead = step + q + kDepth;
#pragma unroll
          for (int u = 0; u < kUnits; u++) {
            load(q, u, ahead < padded_steps_ ? ahead : q,
                 ahead < padded_steps_ ? now[u] : next[u]);
          }
        }
      }
#pragma unroll
      for (int u = 0; u < kUnits; u++) {
        sums.of[round][u][warp_][lane_] =
            make_float4(acc[u][0], acc[u][1], acc[u][2], acc[u][3]);
      }
      __syncthreads();  // and the sums before the last have been read: their warps have come here
      const int mine = (warp_ - first) & (kDecodeWarps - 1);
      if (mine < min(kUnits, count - first)) {
        finish(first + mine, sum_warps(sums.of[round][mine], lane_));
      }
#pragma unroll
      for (int u = 0; u < kUnits; u++) {
        now[u] = next[u];
      }
    }
  }

 private:
  __device__ __forceinline__ void load(int slot, int u, int step, UnitAt unit) {
    if (unit.exists() && step < steps_) {
      weights_.load(ring_[slot][u], unit, warp_ + step * kDecodeWarps, offset_, other_, kGap);
    }
  }

  const Weights& weights_;
  const int warp_;
  const int lane_;
  int steps_;         // k tiles of this warp
  int padded_steps_;  // the most of any warp, rounded up to the ring
  int offset_;
  int other_;
  typename Weights::Part ring_[kDepth][kUnits];
};

// ---- tokens into shared memory ------------------------------------------------------------------

// Eight (four) consecutive columns from a multiple of as many to where the weights want them.
template <class Weights>
__device__ __forceinline__ void store_columns(char* row, int at, uint4 v) {
  if constexpr (Weights::token_order(4) == 4) {
    *reinterpret_cast<uint4*>(row + at * 2) = v;
  } else {
    const uint32_t words[4] = {v.x, v.y, v.z, v.w};
#pragma unroll
    for (int i = 0; i < 4; i++) {
      *reinterpret_cast<uint32_t*>(row + Weights::token_order(at + 2 * i) * 2) = words[i];
    }
  }
}

template <class Weights>
__device__ __forceinline__ void store_columns(char* row, int at, uint2 v) {
  if constexpr (Weights::token_order(4) == 4) {
    *reinterpret_cast<uint2*>(row + at * 2) = v;
  } else {
    *reinterpret_cast<uint32_t*>(row + Weights::token_order(at) * 2) = v.x;
    *reinterpret_cast<uint32_t*>(row + Weights::token_order(at + 2) * 2) = v.y;
  }
}

// Four columns times the power of two that the weights want tokens multiplied with.
template <class Weights>
__device__ __forceinline__ uint2 times_factor(uint2 v) {
  if constexpr (Weights::kTokenFactor == 1.0f) {
    return v;
  } else {
    const __nv_bfloat162 factor = __float2bfloat162_rn(Weights::kTokenFactor);
    const uint32_t bits = *reinterpret_cast<const uint32_t*>(&factor);
    return make_uint2(multiply_pair(v.x, bits), multiply_pair(v.y, bits));
  }
}

// Zeros in the columns that the last k tile has beyond `width`, a multiple of 64.
template <class Weights>
__device__ __forceinline__ void clear_padding(char* tokens, int width, int k_tiles, int count) {
  if constexpr (Weights::kTileColumns > kTileK) {
    const int padding = k_tiles * Weights::kTileColumns - width;
    for (int i = threadIdx.x; i < padding / 2 * count; i += kDecodeThreads) {
      char* row = tokens + i / (kTileK / 2) * token_row_bytes<Weights>(k_tiles);
      *reinterpret_cast<uint32_t*>(row + (width + i % (kTileK / 2) * 2) * 2) = 0;
    }
  }
}

// tokens[t] = x[t], two rows and two steps of columns loaded together. Every thread must call it; a
// barrier must follow.
template <class Weights>
__device__ __forceinline__ void copy_rows(char* tokens, const __nv_bfloat16* x, int width,
                                          int k_tiles, int count) {
  constexpr int kTokens = 2;
  constexpr int kColumns = 2;
  constexpr int kStep = kDecodeThreads * kChunk;
  clear_padding<Weights>(tokens, width, k_tiles, count);
#pragma unroll 1
  for (int first = 0; first < count; first += kTokens) {
#pragma unroll 1
    for (int start = threadIdx.x * kChunk; start < width; start += kColumns * kStep) {
      uint4 v[kTokens][kColumns];
#pragma unroll
      for (int q = 0; q < kTokens; q++) {
#pragma unroll
        for (int c = 0; c < kColumns; c++) {
          if (first + q < count && start + c * kStep < width) {
            v[q][c] = load_written(x + static_cast<size_t>(first + q) * width + start + c * kStep);
          }
        }
      }
#pragma unroll
      for (int q = 0; q < kTokens; q++) {
#pragma unroll
        for (int c = 0; c < kColumns; c++) {
          if (first + q < count && start + c * kStep < width) {
            const uint2 low = times_factor<Weights>(make_uint2(v[q][c].x, v[q][c].y));
            const uint2 high = times_factor<Weights>(make_uint2(v[q][c].z, v[q][c].w));
            store_columns<Weights>(tokens + (first + q) * token_row_bytes<Weights>(k_tiles),
                                   start + c * kStep, make_uint4(low.x, low.y, high.x, high.y));
          }
        }
      }
    }
  }
}

// ---- residual rows that a block adds to ---------------------------------------------------------

// What the residual holds where the block's first units will add to it, loaded while weights are
// underway: at the end of the kernel a load from L2 would be waited for. Element (token, row) of a
// unit is of[(unit * tokens + token) * 16 + row].
struct ResidualRows {
  static constexpr int kUnits = 4;
  float of[kUnits * kDecodeTokens * 16];

  // first_row(i): first of unit i's 16 rows. Every thread must call it; a barrier must follow.
  template <class FirstRow>
  __device__ __forceinline__ void load(const float* residual, int width, int tokens, int count,
                                       const FirstRow& first_row) {
    for (int i = threadIdx.x; i < min(count, kUnits) * tokens * 16; i += kDecodeThreads) {
      const int token = i / 16 % tokens;
      of[i] = load_written_float(residual + static_cast<size_t>(token) * width +
                                 first_row(i / 16 / tokens) + i % 16);
    }
  }

  // residual[token, row] of unit i += value; row_in_unit says which it is in of.
  __device__ __forceinline__ void add(float* to, int i, int tokens, int token, int row_in_unit,
                                      float value) const {
    *to = (i < kUnits ? of[(i * tokens + token) * 16 + row_in_unit] : *to) + value;
  }
};

// ---- RMSNorm on the way into shared memory ------------------------------------------------------

// Per token and warp, a share of the sum of squares.
struct SquareSums {
  float of[kDecodeTokens][kDecodeWarps];
};

// tokens[t] = bf16(x[row_t] * gain) and shares of its sum of squares. The factor 1 / rms is a
// number per token and is applied to the products instead (normed_scale): bf16 rounds relative to
// the value, so the result is as exact, and the block crosses one barrier less. Two tokens and four
// steps of columns are loaded together, which hides L2's latency. Every thread of the block must
// call it; a barrier must follow.
template <class Weights>
__device__ __forceinline__ void load_normed(char* tokens, SquareSums& squares, const float* x,
                                            const int* row_ids, const __nv_bfloat16* gain,
                                            int width, int k_tiles, int count) {
  constexpr int kTokens = 2;
  constexpr int kColumns = 4;
  constexpr int kStep = kDecodeThreads * 4;
  const int warp = threadIdx.x / kWarpSize;
  clear_padding<Weights>(tokens, width, k_tiles, count);
#pragma unroll 1
  for (int first = 0; first < count; first += kTokens) {
    const float* row[kTokens];
    float square[kTokens] = {};
#pragma unroll
    for (int q = 0; q < kTokens; q++) {
      const int token = min(first + q, count - 1);
      row[q] = x + static_cast<size_t>(row_ids == nullptr ? token : row_ids[token]) * width;
    }
#pragma unroll 1
    for (int start = threadIdx.x * 4; start < width; start += kColumns * kStep) {
      float4 v[kTokens][kColumns];
#pragma unroll
      for (int c = 0; c < kColumns; c++) {
#pragma unroll
        for (int q = 0; q < kTokens; q++) {
          if (first + q < count && start + c * kStep < width) {
            v[q][c] = load_written_float4(row[q] + start + c * kStep);
          }
        }
      }
#pragma unroll
      for (int c = 0; c < kColumns; c++) {
        const int at = start + c * kStep;
        if (at >= width) {
          break;
        }
        const uint2 packed = *reinterpret_cast<const uint2*>(gain + at);
        const float2 g0 = __bfloat1622float2(*reinterpret_cast<const __nv_bfloat162*>(&packed.x));
        const float2 g1 = __bfloat1622float2(*reinterpret_cast<const __nv_bfloat162*>(&packed.y));
#pragma unroll
        for (int q = 0; q < kTokens; q++) {
          if (first + q < count) {
            const float4 u = v[q][c];
            square[q] += u.x * u.x + u.y * u.y + u.z * u.z + u.w * u.w;
            __nv_bfloat162 pair[2] = {__floats2bfloat162_rn(u.x * g0.x, u.y * g0.y),
                                      __floats2bfloat162_rn(u.z * g1.x, u.w * g1.y)};
            store_columns<Weights>(tokens + (first + q) * token_row_bytes<Weights>(k_tiles), at,
                                   times_factor<Weights>(*reinterpret_cast<const uint2*>(pair)));
          }
        }
      }
    }
#pragma unroll
    for (int q = 0; q < kTokens; q++) {
      if (first + q < count) {
        const float sum = warp_sum(square[q]);
        if (threadIdx.x % kWarpSize == 0) {
          squares.of[first + q][warp] = sum;
        }
      }
    }
  }
}

// Brings the gain to L2 while the block still waits for its predecessor.
__device__ __forceinline__ void prefetch_gain(const __nv_bfloat16* gain, int width) {
  const int at = threadIdx.x * (kRowBytes / 2);
  if (at < width) {
    asm volatile("prefetch.global.L2 [%0];" ::"l"(gain + at));
  }
}

// 1 / rms of a token whose sums load_normed left, in one fixed order.
__device__ __forceinline__ float normed_scale(const SquareSums& squares, int token, float eps,
                                              int width) {
  float sum = 0.0f;
#pragma unroll
  for (int warp = 0; warp < kDecodeWarps; warp++) {
    sum += squares.of[token][warp];
  }
  return rsqrtf(sum / width + eps);
}
