// The one layout of matrices that Hopper's matrix unit reads: tiles stored as shared memory wants
// them, so that every load is a plain copy of consecutive bytes (`cp.async.bulk` without a tensor
// map, or 16-byte loads of a warp), and both decode and prefill read the same weights.
//
// Atom. A row of a tile is 128 bytes, 64 bf16 along K, eight 16-byte chunks. Chunk c of row r lies
// at chunk position c ^ (r & 7): the 128-byte swizzle of wgmma descriptors (layout type 1 in bits
// 62-63, stride between groups of eight rows 1,024 bytes), and free of bank conflicts for ldmatrix
// and for 16-byte reads of eight consecutive rows.
//
// Weights [E, N, K] (E experts, 1 for a projection; N outputs; K inputs):
//   [expert][n_tile of 128 rows][k_tile of 64 bf16][128 rows x 128 bytes]
//   n_tiles = ceil(N / 128), k_tiles = ceil(K / 64); rows and columns beyond N and K are zero. A
//   tile is 16 KB and starts on a multiple of 1,024 bytes. The k tiles of one n tile are
//   consecutive, so 128 rows x all of K are one run of k_tiles x 16 KB, and 8 (16) rows of one k
//   tile are one run of 1 KB (2 KB).
//
// Gate and up of an expert are one weight whose rows alternate in groups of eight: gate 0-7, up
// 0-7, gate 8-15, up 8-15, ... Rows r and r + 8 of a 16-row fragment are then gate and up of the
// same intermediate column, in the same thread of mma.sync and wgmma. I is first padded to a
// multiple of 64 with zero rows, so N = 2 * 64 * ceil(I / 64) and n_tile j holds the intermediate
// columns 64 j ... 64 j + 63. silu(0) * 0 = 0: padding columns stay zero all the way.
// No other weight is permuted (QKV keeps Hugging Face's half-split order: RoPE is its own op).
//
// Activations [rows, K] of one GEMM, cut into token tiles of n rows (n a multiple of 16, chosen per
// group of rows at run time, see grouped_plan.cuh):
//   [token tile][k_tile of 64 bf16][n rows x 128 bytes]
//   A tile whose first row is r starts at element r * k_tiles * 64. Rows beyond the valid ones and
//   columns beyond K are zero.
#pragma once

#include <cuda_bf16.h>
#include <stdint.h>

constexpr int kTileRows = 128;    // rows of a weight tile
constexpr int kTileK = 64;        // bf16 along K of any tile
constexpr int kRowBytes = 128;    // kTileK bf16
constexpr int kChunk = 8;         // bf16 of one 16-byte chunk
constexpr int kChunksPerRow = 8;  // chunks of one row
constexpr int kTileElements = kTileRows * kTileK;
constexpr int kTileBytes = kTileRows * kRowBytes;

__host__ __device__ __forceinline__ int ceil_div(int a, int b) { return (a + b - 1) / b; }

// Bytes from a tile's start to chunk `chunk` (0-7) of row `row`.
__host__ __device__ __forceinline__ int swizzled_bytes(int row, int chunk) {
  return row * kRowBytes + ((chunk ^ (row & 7)) << 4);
}

// Elements from a tile's start to column `k` (0-63) of row `row`.
__host__ __device__ __forceinline__ int swizzled_element(int row, int k) {
  return row * kTileK + (((k / kChunk) ^ (row & 7)) * kChunk) + k % kChunk;
}

// Elements that a weight [E, N, K] takes in this layout.
__host__ __device__ __forceinline__ size_t tiled_weight_elements(int experts, int n, int k) {
  return static_cast<size_t>(experts) * ceil_div(n, kTileRows) * ceil_div(k, kTileK) *
         kTileElements;
}

// Elements from the weight's start to the tile's start.
__host__ __device__ __forceinline__ size_t weight_tile_start(int expert, int n_tile, int k_tile,
                                                             int n_tiles, int k_tiles) {
  return ((static_cast<size_t>(expert) * n_tiles + n_tile) * k_tiles + k_tile) * kTileElements;
}

// Row of the interleaved gate/up weight that holds gate (up) row i.
__host__ __device__ __forceinline__ int gate_row(int i) { return i / 8 * 16 + i % 8; }
__host__ __device__ __forceinline__ int up_row(int i) { return gate_row(i) + 8; }

// Where 16-byte chunk `chunk` of row `row` lies in the token tile of tile_rows rows that starts at `tile`.
template <class Bf16>
__device__ __forceinline__ Bf16* token_chunk(Bf16* tile, int tile_rows, int row, int chunk) {
  return tile + static_cast<size_t>(chunk / kChunksPerRow) * tile_rows * kTileK +
         swizzled_bytes(row, chunk % kChunksPerRow) / 2;
}

// The same for rows [T, width], or with tile_rows > 0 for the one token tile of so many rows.
__device__ __forceinline__ __nv_bfloat16* out_chunk(__nv_bfloat16* out, int row, int chunk,
                                                    int width, int tile_rows) {
  return tile_rows == 0 ? out + static_cast<size_t>(row) * width + chunk * kChunk
                        : token_chunk(out, tile_rows, row, chunk);
}
