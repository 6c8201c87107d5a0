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

#include "common.cuh"
#include "tiled_layout.cuh"

constexpr int kDecodeTokens = 8;  // N of mma.sync m16n8k16
constexpr int kDecodeThreads = 512;
constexpr int kDecodeWarps = kDecodeThreads / kWarpSize;
constexpr int kRowPad = 64;  // bytes: two token rows then fill all 32 banks
constexpr unsigned kAllLanes = 0xffffffffu;

// ---- programmatic dependent launch: no-ops without the launch attribute and before sm_90
// ---------

// Everything that earlier kernels of the stream wrote is visible after this.
__device__ __forceinline__ void wait_for_predecessor() {
#if __CUDA_ARCH__ >= 900
  asm volatile("griddepcontrol.wait;" ::: "memory");
#endif
}

// Lets the next kernel's blocks start where this one's have left room. Called after the wait, so
// that whatever ran before the predecessor is complete for a kernel that has not waited yet.
__device__ __forceinline__ void release_successor() {
#if __CUDA_ARCH__ >= 900
  asm volatile("griddepcontrol.launch_dependents;" ::: "memory");
#endif
}

// ---- loads --------------------------------------------------------------------------------------

// Weights are read once a step: they need not stay in L1.
__device__ __forceinline__ uint4 load_weights(const void* from) {
  uint4 v;
  asm volatile("ld.global.nc.L1::no_allocate.v4.u32 {%0, %1, %2, %3}, [%4];"
               : "=r"(v.x), "=r"(v.y), "=r"(v.z), "=r"(v.w)
               : "l"(from));
  return v;
}

// What an earlier kernel wrote: never through the read-only path, which may hold older bytes when
// launches overlap.
__device__ __forceinline__ uint4 load_written(const void* from) {
  uint4 v;
  asm volatile("ld.global.v4.u32 {%0, %1, %2, %3}, [%4];"
               : "=r"(v.x), "=r"(v.y), "=r"(v.z), "=r"(v.w)
               : "l"(from)
               : "memory");
  return v;
}

__device__ __forceinline__ float4 load_written_float4(const float* from) {
  const uint4 v = load_written(from);
  return make_float4(__uint_as_float(v.x), __uint_as_float(v.y), __uint_as_float(v.z),
                     __uint_as_float(v.w));
}

__device__ __forceinline__ float load_written_float(const float* from) {
  float v;
  asm volatile("ld.global.f32 %0, [%1];" : "=f"(v) : "l"(from) : "memory");
  return v;
}

// ---- mma.sync m16n8k16, bf16, fp32 accumulators -------------------------------------------------

__device__ __forceinline__ void mma_bf16(float (&d)[4], uint32_t a0, uint32_t a1, uint32_t a2,
                                         uint32_t a3, uint32_t b0, uint32_t b1) {
  asm("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, "
      "{%8, %9}, {%0, %1, %2, %3};"
      : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
      : "r"(a0), "r"(a1), "r"(a2), "r"(a3), "r"(b0), "r"(b1));
}

// One lane's share of 16 weight rows x one k tile: rows l / 4 and l / 4 + gap, both halves.
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

// acc[16 rows, 8 tokens] += slice * tokens; b[h] is the lane's chunk 4 h + l % 4 of token l / 4.
__device__ __forceinline__ void multiply_slice(float (&acc)[4], const WeightSlice& slice,
                                               const uint4 (&b)[2]) {
#pragma unroll
  for (int h = 0; h < 2; h++) {
    const uint4 low = slice.low[h];
    const uint4 high = slice.high[h];
    mma_bf16(acc, low.x, high.x, low.y, high.y, b[h].x, b[h].y);
    mma_bf16(acc, low.z, high.z, low.w, high.w, b[h].z, b[h].w);
  }
}

// ---- tokens in shared memory --------------------------------------------------------------------

// Bytes of one token row in shared memory: K bf16, padded so that 16-byte reads of eight rows do
// not meet in a bank.
__host__ __device__ __forceinline__ int token_row_bytes(int k_tiles) {
  return k_tiles * kRowBytes + kRowPad;
}

// The lane's chunks of k tile `k_tile`; `row` is the lane's token row plus (l % 4) * 16 bytes.
__device__ __forceinline__ void load_tokens(uint4 (&b)[2], const char* row, int k_tile) {
  const char* at = row + k_tile * kRowBytes;
  b[0] = *reinterpret_cast<const uint4*>(at);
  b[1] = *reinterpret_cast<const uint4*>(at + kRowBytes / 2);
}

// Start of the lane's token row: lanes of tokens that do not exist read the last one, whose results
// nobody stores.
__device__ __forceinline__ const char* lane_token_row(const char* tokens, int k_tiles, int count,
                                                      int lane) {
  return tokens + min(lane / 4, count - 1) * token_row_bytes(k_tiles) + lane % 4 * 16;
}

// ---- sums over the block's warps ----------------------------------------------------------------

// Each warp's accumulators of a unit, twice: while one set is summed the next is written.
struct UnitSums {
  float4 of[2][kDecodeWarps][kWarpSize];
};

__device__ __forceinline__ float4 sum_warps(const float4 (&of)[kDecodeWarps][kWarpSize], int lane) {
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
// Units are numbered 0, 1, ... within the block; base(i) is the first byte of unit i's low rows in
// k tile 0.
template <int kGap>
class WeightStream {
 public:
  static constexpr int kDepth = 4;  // slices in flight: 16 loads a lane

  __device__ __forceinline__ explicit WeightStream(int k_tiles)
      : warp_(threadIdx.x / kWarpSize), lane_(threadIdx.x % kWarpSize) {
    steps_ = k_tiles > warp_ ? ceil_div(k_tiles - warp_, kDecodeWarps) : 0;
    padded_steps_ = ceil_div(ceil_div(k_tiles, kDecodeWarps), kDepth) * kDepth;
    offset_ = lane_offset(lane_) + warp_ * kTileBytes;
    other_ = (offset_ & 64) ? -64 : 64;
  }

  // Starts the loads of the first unit. Nothing that other kernels write is touched.
  __device__ __forceinline__ void start(const char* unit) {
#pragma unroll
    for (int q = 0; q < kDepth; q++) {
      load(q, q, unit);
    }
  }

  // After start(base(0)): multiplies `count` units with the tokens in shared memory and calls
  // finish(i, sums) on one warp for each, in turn. Every thread of the block must call it.
  template <class Base, class Finish>
  __device__ __forceinline__ void run(int count, const char* token_row, UnitSums& sums,
                                      const Base& base, const Finish& finish) {
    const char* unit = count > 0 ? base(0) : nullptr;
    for (int i = 0; i < count; i++) {
      const char* next = i + 1 < count ? base(i + 1) : nullptr;
      float acc[4] = {};
      for (int step = 0; step < padded_steps_; step += kDepth) {
#pragma unroll
        for (int q = 0; q < kDepth; q++) {
          if (step + q < steps_) {
            uint4 b[2];
            load_tokens(b, token_row, warp_ + (step + q) * kDecodeWarps);
            multiply_slice(acc, ring_[q], b);
          }
          const int ahead = step + q + kDepth;
          load(q, ahead < padded_steps_ ? ahead : q, ahead < padded_steps_ ? unit : next);
        }
      }
      sums.of[i & 1][warp_][lane_] = make_float4(acc[0], acc[1], acc[2], acc[3]);
      __syncthreads();  // and the sums of unit i - 2 have been read: their warp has come here
      if (warp_ == i % kDecodeWarps) {
        finish(i, sum_warps(sums.of[i & 1], lane_));
      }
      unit = next;
    }
  }

 private:
  __device__ __forceinline__ void load(int slot, int step, const char* unit) {
    if (unit != nullptr && step < steps_) {
      load_slice(ring_[slot], unit + offset_ + step * kDecodeWarps * kTileBytes, other_, kGap);
    }
  }

  const int warp_;
  const int lane_;
  int steps_;         // k tiles of this warp
  int padded_steps_;  // the most of any warp, rounded up to the ring
  int offset_;
  int other_;
  WeightSlice ring_[kDepth];
};

// ---- tokens into shared memory
// -------------------------------------------------------------------

// tokens[t] = x[t], two rows and two steps of columns loaded together. Every thread must call it; a
// barrier must follow.
__device__ __forceinline__ void copy_rows(char* tokens, const __nv_bfloat16* x, int width,
                                          int k_tiles, int count) {
  constexpr int kTokens = 2;
  constexpr int kColumns = 2;
  constexpr int kStep = kDecodeThreads * kChunk;
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
            *reinterpret_cast<uint4*>(tokens + (first + q) * token_row_bytes(k_tiles) +
                                      (start + c * kStep) * 2) = v[q][c];
          }
        }
      }
    }
  }
}

// ---- residual rows that a block adds to
// ----------------------------------------------------------

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
__device__ __forceinline__ void load_normed(char* tokens, SquareSums& squares, const float* x,
                                            const int* row_ids, const __nv_bfloat16* gain,
                                            int width, int k_tiles, int count) {
  constexpr int kTokens = 2;
  constexpr int kColumns = 4;
  constexpr int kStep = kDecodeThreads * 4;
  const int warp = threadIdx.x / kWarpSize;
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
            *reinterpret_cast<uint2*>(tokens + (first + q) * token_row_bytes(k_tiles) + at * 2) =
                *reinterpret_cast<const uint2*>(pair);
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
