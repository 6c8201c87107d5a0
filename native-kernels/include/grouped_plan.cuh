// How the rows of a grouped GEMM are cut into token tiles. One GroupPlan per expert, made on the
// device (expert_plan_i32) so that launches keep one shape whatever the routing; a projection is
// the case of one expert and is planned in the kernel from its row count.
//
// The rows of an expert are cut into the fewest tiles of at most max_tile_rows, all of one height:
// a multiple of 16 that spreads them evenly (257 rows: two of 144, not 256 and 16). A weight tile
// then costs the same for each of them, and padding is less than 16 rows a tile.
#pragma once

#include "tiled_layout.cuh"

constexpr int kTileRowStep = 16;   // two groups of eight rows: one for each CTA of a cluster
constexpr int kMaxTileRows = 256;  // widest n of wgmma

// One expert, read as one int4. A plan of E experts is E + 1 of these, the last with the total of
// padded rows in first_row, followed by E ints: the experts in the order that the GEMMs take them,
// tallest tiles first, so that the last and partial round of work is of the cheapest.
struct alignas(16) GroupPlan {
  int first_row;  // padded rows before this expert
  int rows;       // rows routed to it
  int tile_rows;  // rows of each of its tiles
  int tiles;
};

__host__ __device__ __forceinline__ GroupPlan plan_group(int first_row, int rows,
                                                         int max_tile_rows) {
  const int tiles = ceil_div(rows, max_tile_rows);
  const int even = tiles == 0 ? 0 : ceil_div(rows, tiles);
  return {first_row, rows, ceil_div(even, kTileRowStep) * kTileRowStep, tiles};
}

__host__ __device__ __forceinline__ size_t plan_bytes(int experts) {
  return (experts + 1) * sizeof(GroupPlan) + experts * sizeof(int);
}

__host__ __device__ __forceinline__ int* plan_order(GroupPlan* plan, int experts) {
  return reinterpret_cast<int*>(plan + experts + 1);
}

// Most padded rows that `pairs` routed rows over `experts` experts can take: a tile pads by less
// than 16 rows, of which its rounding to 16 is 15 and the even split of rows the rest.
__host__ __device__ __forceinline__ int max_padded_rows(int pairs, int experts, int max_tile_rows) {
  return pairs + (pairs / max_tile_rows + experts) * kTileRowStep;
}

// The expert of a padded row, or `experts` where there is none.
__device__ __forceinline__ int expert_of(const GroupPlan* plan, int experts, int row) {
  if (row >= plan[experts].first_row) {
    return experts;
  }
  int expert = 0;
  while (row >= plan[expert + 1].first_row) {
    expert++;
  }
  return expert;
}
