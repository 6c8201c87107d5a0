// What happens to a GEMM's accumulators: SwiGLU into the next GEMM's token tiles, or rows.
#pragma once

#include "common.cuh"
#include "grouped_gemm.cuh"

__device__ __forceinline__ uint32_t pack_bf16(float low, float high) {
  const __nv_bfloat162 pair = __floats2bfloat162_rn(low, high);
  return *reinterpret_cast<const uint32_t*>(&pair);
}

// h = silu(gate) * up, in registers: rows l / 4 (gate) and l / 4 + 8 (up) of a fragment are the
// same intermediate column. A warp makes 8 of the tile's 64 columns, one 16-byte chunk of every
// token. Goes to `hidden` as token tiles: k tile n_tile of the token tile, one bulk store by a warp
// of the producer's warpgroup, so that consumers go on to the next unit.
struct SwigluToTiles {
  static constexpr bool kStoreWarp = true;
  static constexpr int kThreads = kConsumers + 32;  // of the staging barriers
  __nv_bfloat16* hidden;                            // tiled [rows, 64 n_tiles]
  int n_tiles;

  __device__ __forceinline__ void begin(const Unit&) const {}

  template <int kN>
  __device__ __forceinline__ void finish(const float (&acc)[kN / 2], const Unit&,
                                         uint32_t staging) const {
    const int lane = threadIdx.x % 32;
    const int chunk = threadIdx.x / 32 - 4;
    const uint32_t to = staging + swizzled_bytes(lane, chunk);
    named_sync(kStagingFree, kThreads);
    uint32_t packed[kN / 8];
#pragma unroll
    for (int j = 0; j < kN / 8; j++) {
      packed[j] = swiglu_pair(acc[4 * j], acc[4 * j + 1], acc[4 * j + 2], acc[4 * j + 3]);
    }
#pragma unroll
    for (int j = 0; j + 4 <= kN / 8; j += 4) {
      store_matrices_transposed(to + j * 8 * kRowBytes,
                                {packed[j], packed[j + 1], packed[j + 2], packed[j + 3]});
    }
    if constexpr (kN / 8 % 4 != 0) {
      constexpr int kLast = kN / 8 - 2;
      store_matrices_transposed(to + kLast * 8 * kRowBytes, {packed[kLast], packed[kLast + 1]});
    }
    fence_async_proxy();
    named_arrive(kStagingFull, kThreads);
  }

  __device__ __forceinline__ void store(const Unit& unit, uint32_t staging, int lane) const {
    named_arrive(kStagingFree, kThreads);
    named_sync(kStagingFull, kThreads);
    if (lane == 0 && unit.n_tile < n_tiles) {
      const size_t start =
          static_cast<size_t>(unit.first_row) * n_tiles + static_cast<size_t>(unit.n_tile) * unit.n;
      bulk_store(hidden + start * kTileK, staging, unit.n * kRowBytes);
      bulk_store_commit();
      bulk_store_wait_read();
    }
    __syncwarp();
  }
};

// Rows of [padded rows, N] in bf16. Each warpgroup turns its 64 columns of 64 tokens at a time into
// rows of 128 bytes in its own 16 KB of staging, twice 8 KB, and writes whole 128-byte lines.
struct RowsBf16 {
  static constexpr bool kStoreWarp = false;
  static constexpr int kPart = 64;  // tokens staged at a time
  __nv_bfloat16* out;               // [rows, width]
  int width;                        // N

  __device__ __forceinline__ void begin(const Unit&) const {}

  template <int kN>
  __device__ __forceinline__ void finish(const float (&acc)[kN / 2], const Unit& unit,
                                         uint32_t staging) const {
    const int warpgroup = threadIdx.x / 128 - 1;
    const int thread = threadIdx.x % 128;
    const int lane = threadIdx.x % 32;
    const int column = unit.n_tile * kTileRows + warpgroup * 64;
    const uint32_t own = staging + warpgroup * 2 * kPart * kRowBytes;
    named_sync(kWarpgroupBarrier + warpgroup, 128);  // the last unit's rows have been read
#pragma unroll
    for (int first = 0; first < kN; first += kPart) {
      const uint32_t part = own + first / kPart % 2 * kPart * kRowBytes;
#pragma unroll
      for (int token = 0; token < kPart && first + token < kN; token += 16) {
        const int j = (first + token) / 8;
        const uint32_t matrices[4] = {
            pack_bf16(acc[4 * j], acc[4 * j + 1]), pack_bf16(acc[4 * j + 2], acc[4 * j + 3]),
            pack_bf16(acc[4 * j + 4], acc[4 * j + 5]), pack_bf16(acc[4 * j + 6], acc[4 * j + 7])};
        const int row = token + lane / 16 * 8 + lane % 8;
        const int chunk = thread / 32 * 2 + lane / 8 % 2;
        store_matrices_transposed(part + swizzled_bytes(row, chunk), matrices);
      }
      named_sync(kWarpgroupBarrier + warpgroup, 128);
#pragma unroll 2  // all four at once would spill where tokens have scales
      for (int i = 0; i < kPart * kChunksPerRow / 128; i++) {
        const int row = thread / kChunksPerRow + i * (128 / kChunksPerRow);
        const int chunk = thread % kChunksPerRow;
        if (first + row < unit.rows) {
          store_chunk(unit.first_row + first + row, column + chunk * kChunk,
                      load_shared_16(part + swizzled_bytes(row, chunk)));
        }
      }
    }
  }

  __device__ __forceinline__ void store_chunk(int row, int column, uint4 chunk) const {
    __nv_bfloat16* to = out + static_cast<size_t>(row) * width + column;
    if (column + kChunk <= width && width % kChunk == 0) {
      *reinterpret_cast<uint4*>(to) = chunk;
      return;
    }
    const __nv_bfloat16* values = reinterpret_cast<const __nv_bfloat16*>(&chunk);
#pragma unroll
    for (int i = 0; i < kChunk; i++) {
      if (column + i < width) {
        to[i] = values[i];
      }
    }
  }
};

// Rows in fp32 (logits), straight from registers: eight lanes write 32 consecutive bytes.
struct RowsF32 {
  static constexpr bool kStoreWarp = false;
  float* out;  // [rows, width]
  int width;   // N

  __device__ __forceinline__ void begin(const Unit&) const {}

  template <int kN>
  __device__ __forceinline__ void finish(const float (&acc)[kN / 2], const Unit& unit,
                                         uint32_t) const {
    const int lane = threadIdx.x % 32;
    const int column = unit.n_tile * kTileRows + (threadIdx.x / 32 - 4) * 16 + lane / 4;
    const int first = lane % 4 * 2;
    float* to = out + static_cast<size_t>(unit.first_row + first) * width + column;
#pragma unroll
    for (int j = 0; j < kN / 8; j++, to += static_cast<size_t>(8) * width) {
#pragma unroll
      for (int i = 0; i < 4; i++) {
        if (8 * j + first + i % 2 < unit.rows && column + i / 2 * 8 < width) {
          to[i % 2 * width + i / 2 * 8] = acc[4 * j + i];
        }
      }
    }
  }
};

// The same, added to rows that are there (the residual): one addition in fp32 of what RowsF32 would
// have written.
struct AddRowsF32 {
  static constexpr bool kStoreWarp = false;
  float* out;  // [rows, width]
  int width;   // N

  // Brings the rows into L2 while the unit is multiplied: a thread its row's columns.
  __device__ __forceinline__ void begin(const Unit& unit) const {
    const int row = threadIdx.x - (kGemmThreads - kConsumers);
    const int column = unit.n_tile * kTileRows;
    if (row < unit.rows && column < width && width % 4 == 0) {  // else rows are not aligned
      bulk_prefetch(out + static_cast<size_t>(unit.first_row + row) * width + column,
                    min(kTileRows, width - column) * 4);
    }
  }

  template <int kN>
  __device__ __forceinline__ void finish(const float (&acc)[kN / 2], const Unit& unit,
                                         uint32_t) const {
    constexpr int kAtOnce = kN / 8 % 4 == 0 ? 4 : 2;  // eights of tokens: 16 loads in flight
    const int lane = threadIdx.x % 32;
    const int column = unit.n_tile * kTileRows + (threadIdx.x / 32 - 4) * 16 + lane / 4;
    const int first = lane % 4 * 2;
    // Tokens from the first on, of this thread's two columns.
    const int tokens[2] = {column < width ? unit.rows - first : 0,
                           column + 8 < width ? unit.rows - first : 0};
    float* to = out + static_cast<size_t>(unit.first_row + first) * width + column;
#pragma unroll
    for (int j = 0; j < kN / 8; j += kAtOnce, to += static_cast<size_t>(8 * kAtOnce) * width) {
      float sums[4 * kAtOnce];
#pragma unroll
      for (int i = 0; i < 4 * kAtOnce; i++) {
        const int token = i / 4 * 8 + i % 2;
        const bool is_there = 8 * j + token < tokens[i / 2 % 2];
        sums[i] = is_there ? __ldcg(to + token * width + i / 2 % 2 * 8) : 0.0f;
      }
      // Never in one rounding with the factor by which codes' sums were just multiplied.
#pragma unroll
      for (int i = 0; i < 4 * kAtOnce; i++) {
        const int token = i / 4 * 8 + i % 2;
        if (8 * j + token < tokens[i / 2 % 2]) {
          to[token * width + i / 2 % 2 * 8] = __fadd_rn(sums[i], acc[4 * j + i]);
        }
      }
    }
  }
};
