// Where the sums of decode_gemm.cuh go: rows in fp32, or SwiGLU into token tiles. A Format says how many
// warpgroups of 64 weight rows work on a unit, two (a whole weight tile) or one.
#pragma once

#include "common.cuh"
#include "grouped_plan.cuh"
#include "ptx_sm90.cuh"
#include "tile_products.cuh"

constexpr int kWarpgroupThreads = 128;
constexpr int kConsumerBarrier = 1;  // named barrier of the consumers; 0 is __syncthreads

// Of a unit of weights.
template <class Format>
__host__ __device__ constexpr int unit_bytes() {
  return Format::kWarpgroups * (kTileBytes / 2);
}

// Units of a weight tile's rows.
template <class Format>
__host__ __device__ constexpr int tile_units() {
  return 2 / Format::kWarpgroups;
}

template <class Format>
__host__ __device__ constexpr int consumer_threads() {
  return Format::kWarpgroups * kWarpgroupThreads;
}

// The tokens of an expert, or `n` of them from `first` on where they are more than one product takes.
struct ChosenRows {
  GroupPlan plan;
  int expert;
  int first;
  int n;
};

// Of one piece of one unit: where its sums go.
struct Piece {
  ChosenRows rows;
  int unit;  // of the weight's rows
  int part;
};

// fp32 sums as rows, straight from registers: eight lanes write 32 consecutive bytes. kAdds: to what
// stands there.
template <bool kAdds>
struct StoreRows {
  static constexpr bool kStaging = false;
  static constexpr bool kPlanIsOlder = true;  // than the kernel directly before; or there is none
  float* parts;  // [parts, rows, width]
  int rows;
  int width;

  template <class Format, int kN>
  __device__ __forceinline__ void finish(const float (&acc)[kN / 2], const Piece& piece) const {
    const int lane = threadIdx.x % kWarpSize;
    const int column = piece.unit * (Format::kWarpgroups * 64) + threadIdx.x / kWarpSize * 16 +
                       lane / 4;
    if (column >= width) {  // a multiple of 16: the whole warp
      return;
    }
    const int first = lane % 4 * 2;
    float* to = parts + column +
                (static_cast<size_t>(piece.part) * rows + piece.rows.plan.first_row +
                 piece.rows.first + first) *
                    width;
    const int left = piece.rows.plan.rows - piece.rows.first - first;  // rows from the lane's first on
#pragma unroll
    for (int j = 0; j < kN / 8; j++) {
#pragma unroll
      for (int c = 0; c < 2; c++) {
        if (8 * j + c < left) {
          store(to + c * width, acc[4 * j + c]);
          store(to + c * width + 8, acc[4 * j + 2 + c]);
        }
      }
      to += 8 * width;
      asm volatile("" : "+l"(to));  // one address at a time: all at once would spill
    }
  }

  static __device__ __forceinline__ void store(float* to, float v) {
    *to = kAdds ? __ldcg(to) + v : v;
  }
};
using StoreParts = StoreRows<false>;
using AddRows = StoreRows<true>;

// Gate and up are 8 rows apart, in one thread. A warp makes 8 of the tile's 64 columns: one 16-byte
// chunk of every token, transposed into the image of the token tile and copied from there.
struct StoreSwiglu {
  static constexpr bool kStaging = true;
  static constexpr bool kPlanIsOlder = false;
  __nv_bfloat16* h;
  int k_tiles;  // of h
  uint32_t staging;

  template <class Format, int kN>
  __device__ __forceinline__ void finish(const float (&acc)[kN / 2], const Piece& piece) const {
    constexpr int kUnits = tile_units<Format>();
    constexpr int kThreads = consumer_threads<Format>();
    constexpr int kChunks = kChunksPerRow / kUnits;  // of a token
    const int lane = threadIdx.x % kWarpSize;
    const int first_chunk = piece.unit % kUnits * kChunks;
    const int chunk = first_chunk + threadIdx.x / kWarpSize;
    named_sync(kConsumerBarrier, kThreads);  // the last tile has been copied
#pragma unroll
    for (int j = 0; j < kN / 8; j += 2) {
      store_matrices_transposed(
          staging + swizzled_bytes(j * 8 + lane % 16, chunk),
          {swiglu_pair(acc[4 * j], acc[4 * j + 1], acc[4 * j + 2], acc[4 * j + 3]),
           swiglu_pair(acc[4 * j + 4], acc[4 * j + 5], acc[4 * j + 6], acc[4 * j + 7])});
    }
    named_sync(kConsumerBarrier, kThreads);
    char* tile = reinterpret_cast<char*>(
        h + (static_cast<size_t>(piece.rows.plan.first_row) * k_tiles +
             piece.unit / kUnits * piece.rows.plan.tile_rows + piece.rows.first) *
                kTileK);
    for (int i = threadIdx.x; i < kN * kChunks; i += kThreads) {
      const int at = kUnits == 1 ? i * 16
                                 : swizzled_bytes(i / kChunks, first_chunk + i % kChunks);
      *reinterpret_cast<uint4*>(tile + at) = load_shared_16(staging + at);
    }
  }
};
