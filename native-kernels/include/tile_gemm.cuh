// One tile of a matrix product for any shape: sums[BM, BN] = A[BM, K] * B[BN, K]^T, both operands
// bf16 with K contiguous, fp32 sums. Which global row stands behind a row of the tile is the
// caller's business, so that dense products, gathered tokens and interleaved gate/up rows share it.
//
//   K any: where it is a multiple of 8 (and rows are therefore 16-byte aligned) rows come by
//   asynchronous copies, else element by element. Rows and columns beyond the operands are zeros.
//
// Every sum runs over K in steps of 16 in ascending order whatever the tile's size, so that a row's
// result has the same bits in every tile shape and beside any other rows.
#pragma once

#include "mma.cuh"

// kBM x kBN tile, kWarpsM x kWarpsN warps, kStages K-slices of 64 in flight.
template <int kBM_, int kBN_, int kWarpsM_, int kWarpsN_, int kStages_>
struct TileShape {
  static constexpr int kBM = kBM_;
  static constexpr int kBN = kBN_;
  static constexpr int kWarpsM = kWarpsM_;
  static constexpr int kWarpsN = kWarpsN_;
  static constexpr int kStages = kStages_;
  static constexpr int kBK = 64;
  static constexpr int kThreads = kWarpsM * kWarpsN * kWarpSize;
  static constexpr int kTilesM = kBM / kWarpsM / 16;  // 16-row fragments of a warp
  static constexpr int kTilesN = kBN / kWarpsN / 8;   // 8-column fragments of a warp
  static constexpr int kRowBytes = kBK * 2;
  static constexpr int kStageBytes = (kBM + kBN) * kRowBytes;
  static constexpr int kSharedBytes = kStages * kStageBytes;
  static constexpr int kChunksPerRow = kBK / kChunk;
  static constexpr int kRowStep = kThreads / kChunksPerRow;  // rows filled by one pass of the block
  static constexpr int kPassesA = kBM / kRowStep;
  static constexpr int kPassesB = kBN / kRowStep;
  static_assert(kTilesM >= 1 && kTilesN >= 2 && kTilesN % 2 == 0,
                "a warp multiplies whole 16-row fragments by pairs of 8-column fragments");
  static_assert(kBM % kRowStep == 0 && kBN % kRowStep == 0,
                "every thread copies the same number of chunks");
  static_assert(kSharedBytes <= 99 * 1024, "sm_89 gives a block 99 KB of shared memory");
};

// The three shapes that serve any number of rows. Java knows them too (MatmulKernels.TILES).
using SmallTile = TileShape<16, 64, 1, 4, 6>;
using MediumTile = TileShape<64, 64, 2, 2, 5>;
using LargeTile = TileShape<128, 128, 2, 4, 3>;

template <typename Shape>
struct TileSums {
  float at[Shape::kTilesM][Shape::kTilesN][4];
};

// Loads one operand's K-slices; rows[i] is the global row behind this thread's i-th row of the tile
// or null, which reads as zeros.
template <int kPasses, int kRowStep>
struct OperandLoader {
  const __nv_bfloat16* rows[kPasses];
  const __nv_bfloat16* readable;  // any valid aligned address, for copies of zero bytes
  int width;                      // K
  bool aligned;                   // K is a multiple of kChunk

  __device__ __forceinline__ void load(uint32_t shared, unsigned char* generic, int k0) const {
    const int chunk = threadIdx.x % 8;
    const int k = k0 + chunk * kChunk;
#pragma unroll
    for (int i = 0; i < kPasses; i++) {
      const int row = threadIdx.x / 8 + i * kRowStep;
      const int offset = row * 128 + ((chunk ^ (row & 7)) << 4);
      if (aligned) {
        const bool inside = rows[i] != nullptr && k < width;
        copy_async(shared + offset, inside ? rows[i] + k : readable, inside ? 16 : 0);
      } else {
        alignas(16) __nv_bfloat16 values[kChunk];
#pragma unroll
        for (int j = 0; j < kChunk; j++) {
          values[j] =
              rows[i] != nullptr && k + j < width ? rows[i][k + j] : __float2bfloat16(0.0f);
        }
        *reinterpret_cast<uint4*>(generic + offset) = *reinterpret_cast<const uint4*>(values);
      }
    }
  }
};

// a_row(r) and b_row(r) give the global row for row r of the tile or null; all threads must call.
template <typename Shape, typename ARow, typename BRow>
__device__ __forceinline__ void multiply_tile(TileSums<Shape>& sums, unsigned char* shared,
                                              const __nv_bfloat16* a, const __nv_bfloat16* b,
                                              int width, ARow a_row, BRow b_row) {
  OperandLoader<Shape::kPassesA, Shape::kRowStep> load_a;
  OperandLoader<Shape::kPassesB, Shape::kRowStep> load_b;
  load_a.width = load_b.width = width;
  load_a.aligned = load_b.aligned = width % kChunk == 0;
  load_a.readable = a;
  load_b.readable = b;
#pragma unroll
  for (int i = 0; i < Shape::kPassesA; i++) {
    load_a.rows[i] = a_row(threadIdx.x / 8 + i * Shape::kRowStep);
  }
#pragma unroll
  for (int i = 0; i < Shape::kPassesB; i++) {
    load_b.rows[i] = b_row(threadIdx.x / 8 + i * Shape::kRowStep);
  }
#pragma unroll
  for (int m = 0; m < Shape::kTilesM; m++) {
#pragma unroll
    for (int n = 0; n < Shape::kTilesN; n++) {
#pragma unroll
      for (int i = 0; i < 4; i++) {
        sums.at[m][n][i] = 0.0f;
      }
    }
  }

  const uint32_t base = shared_address(shared);
  const int slices = (width + Shape::kBK - 1) / Shape::kBK;
  const auto fill = [&](int slice) {
    if (slice < slices) {
      const int offset = (slice % Shape::kStages) * Shape::kStageBytes;
      load_a.load(base + offset, shared + offset, slice * Shape::kBK);
      load_b.load(base + offset + Shape::kBM * Shape::kRowBytes,
                  shared + offset + Shape::kBM * Shape::kRowBytes, slice * Shape::kBK);
    }
    commit_copies();  // also where nothing was loaded: the count of groups stays in step
  };
#pragma unroll
  for (int slice = 0; slice < Shape::kStages - 1; slice++) {
    fill(slice);
  }

  const int lane = threadIdx.x % kWarpSize;
  const int warp = threadIdx.x / kWarpSize;
  const int first_row = (warp / Shape::kWarpsN) * Shape::kTilesM * 16;
  const int first_column = (warp % Shape::kWarpsN) * Shape::kTilesN * 8;
  const int a_lane_row = first_row + lane % 16;
  const int b_lane_row = first_column + (lane / 16) * 8 + lane % 8;
  for (int slice = 0; slice < slices; slice++) {
    wait_copies<Shape::kStages - 2>();
    __syncthreads();  // everyone's copies have arrived, and the slice before has been read
    fill(slice + Shape::kStages - 1);
    const uint32_t tile_a = base + (slice % Shape::kStages) * Shape::kStageBytes;
    const uint32_t tile_b = tile_a + Shape::kBM * Shape::kRowBytes;
#pragma unroll
    for (int step = 0; step < Shape::kBK / 16; step++) {
      uint32_t fragments_a[Shape::kTilesM][4];
#pragma unroll
      for (int m = 0; m < Shape::kTilesM; m++) {
        const int row = a_lane_row + m * 16;
        const int chunk = step * 2 + lane / 16;
        load_matrices(fragments_a[m], tile_a + row * 128 + ((chunk ^ (row & 7)) << 4));
      }
#pragma unroll
      for (int n = 0; n < Shape::kTilesN; n += 2) {
        uint32_t fragment_b[4];
        const int row = b_lane_row + n * 8;
        const int chunk = step * 2 + lane / 8 % 2;
        load_matrices(fragment_b, tile_b + row * 128 + ((chunk ^ (row & 7)) << 4));
#pragma unroll
        for (int m = 0; m < Shape::kTilesM; m++) {
          multiply_add(sums.at[m][n], fragments_a[m], fragment_b[0], fragment_b[1]);
          multiply_add(sums.at[m][n + 1], fragments_a[m], fragment_b[2], fragment_b[3]);
        }
      }
    }
  }
}

// Calls use(row, column, value of that column, value of the next) for every pair of sums that this
// thread holds; row and column count within the tile.
template <typename Shape, typename Use>
__device__ __forceinline__ void for_each_pair(const TileSums<Shape>& sums, Use use) {
  const int lane = threadIdx.x % kWarpSize;
  const int warp = threadIdx.x / kWarpSize;
  const int row = (warp / Shape::kWarpsN) * Shape::kTilesM * 16 + lane / 4;
  const int column = (warp % Shape::kWarpsN) * Shape::kTilesN * 8 + lane % 4 * 2;
#pragma unroll
  for (int m = 0; m < Shape::kTilesM; m++) {
#pragma unroll
    for (int n = 0; n < Shape::kTilesN; n++) {
      use(row + m * 16, column + n * 8, sums.at[m][n][0], sums.at[m][n][1]);
      use(row + m * 16 + 8, column + n * 8, sums.at[m][n][2], sums.at[m][n][3]);
    }
  }
}
