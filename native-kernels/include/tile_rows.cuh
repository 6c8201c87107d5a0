// Row-major rows into token tiles (tiled_layout.cuh): used by the projections and by the experts'
// gather. A block is 256 threads and covers 8 padded rows x 8 k tiles, 4 of them at a time: eight
// lanes write one row's 128 bytes of a tile, and eight rows make a run of 1 KB.
#pragma once

#include "common.cuh"
#include "grouped_plan.cuh"

constexpr int kRowsPerBlock = 8;
constexpr int kTilesPerBlock = 8;  // k tiles of one block, a y step of the grid

// Row of this thread within the block: eight lanes hold one 128-byte row of one tile.
__device__ __forceinline__ int tile_rows_row() {
  return threadIdx.x / kChunksPerRow % kRowsPerBlock;
}

__device__ __forceinline__ Bf16x8 load_chunk(const __nv_bfloat16* row, int column, int width) {
  if (row != nullptr && width % kChunk == 0 && column + kChunk <= width) {
    return *reinterpret_cast<const Bf16x8*>(row + column);
  }
  float values[kChunk];
#pragma unroll
  for (int i = 0; i < kChunk; i++) {
    values[i] = row != nullptr && column + i < width ? __bfloat162float(row[column + i]) : 0.0f;
  }
  return pack(values);
}

// Writes this thread's chunks of padded row `row` of a group; from == nullptr writes zeros.
__device__ __forceinline__ void tile_row(__nv_bfloat16* tiles, const __nv_bfloat16* from, int row,
                                         const GroupPlan& group, int k) {
  const int k_tiles = ceil_div(k, kTileK);
  const int local = row - group.first_row;
  const int in_tile = local % group.tile_rows;
  const size_t tile_start = static_cast<size_t>(row - in_tile) * k_tiles * kTileK;
  const int chunk = threadIdx.x % kChunksPerRow;
  const int step = blockDim.x / (kRowsPerBlock * kChunksPerRow);
  const int first = blockIdx.y * kTilesPerBlock;
  for (int at = first + threadIdx.x / (kRowsPerBlock * kChunksPerRow);
       at < min(first + kTilesPerBlock, k_tiles); at += step) {
    __nv_bfloat16* tile = tiles + tile_start + static_cast<size_t>(at) * group.tile_rows * kTileK;
    *reinterpret_cast<Bf16x8*>(tile + swizzled_element(in_tile, chunk * kChunk)) =
        load_chunk(from, at * kTileK + chunk * kChunk, k);
  }
}
