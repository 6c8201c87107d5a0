// out[t] = sum over t's experts of weight * down(silu(gate x) * up x). Called by
// Kernels.expertFeedForward for experts that lie row-major; five kernels, in this order:
//
//   expert_sort              pairs (token, slot) sorted by expert, stable: no atomics
//   expert_gate_up_bf16_*    inner[p] = silu(x[t] gate^T) * (x[t] up^T): [pairs, I]
//   expert_down_bf16_*       answers[p] = inner[p] down^T: fp32 [pairs, D]
//   expert_combine_bf16      out[t] = sum over slots, in slot order, of weight * answers
//
// T tokens, K experts per token, P = T K pairs; pair t K + slot. D hidden, I intermediate, E
// experts. Expert ids outside [0, E) mark pairs that are computed by nobody and add nothing.
// A block of the two products finds its expert from the counts on the device: the grid only needs
// an upper bound of the tiles, P / BM + min(E, P).

#include "tile_gemm.cuh"

namespace {

constexpr int kSortThreads = 1024;
constexpr int kSortWarps = kSortThreads / kWarpSize;
constexpr int kMaxExperts = 1024;

struct ExpertTile {
  int expert;     // -1: this block has nothing to do
  int first;      // first sorted pair of the tile
  int last;       // one past the expert's last sorted pair
};

// offsets: [E + 1]. Every thread walks the E counts; E is small and they are in L1.
__device__ __forceinline__ ExpertTile find_tile(const int* offsets, int num_experts, int tile,
                                                int tile_rows) {
  for (int expert = 0; expert < num_experts; expert++) {
    const int first = offsets[expert];
    const int last = offsets[expert + 1];
    const int tiles = (last - first + tile_rows - 1) / tile_rows;
    if (tile < tiles) {
      return {expert, first + tile * tile_rows, last};
    }
    tile -= tiles;
  }
  return {-1, 0, 0};
}

// Columns come in groups of 16 rows of the tile: 8 gate rows and their 8 up rows, so that a thread
// holds gate and up of the same column in neighbouring fragments.
template <typename Shape>
__device__ __forceinline__ void gate_up(__nv_bfloat16* inner, const __nv_bfloat16* x,
                                        const __nv_bfloat16* weight, const int* offsets,
                                        const int* sorted_pairs, int num_experts, int per_token,
                                        int hidden, int intermediate) {
  extern __shared__ __align__(128) unsigned char shared[];
  const ExpertTile tile = find_tile(offsets, num_experts, blockIdx.x, Shape::kBM);
  if (tile.expert < 0) {
    return;
  }
  const int first_column = blockIdx.y * (Shape::kBN / 2);
  const __nv_bfloat16* gate = weight + static_cast<size_t>(tile.expert) * 2 * intermediate * hidden;
  TileSums<Shape> sums;
  multiply_tile<Shape>(
      sums, shared, x, weight, hidden,
      [=](int row) {
        const int p = tile.first + row;
        return p < tile.last ? x + static_cast<size_t>(sorted_pairs[p] / per_token) * hidden
                             : nullptr;
      },
      [=](int row) {
        const int column = first_column + row / 16 * 8 + row % 8;
        const int up = row % 16 / 8;
        return column < intermediate
                   ? gate + static_cast<size_t>(column + up * intermediate) * hidden
                   : nullptr;
      });
  const int lane = threadIdx.x % kWarpSize;
  const int warp = threadIdx.x / kWarpSize;
  const int row = tile.first + (warp / Shape::kWarpsN) * Shape::kTilesM * 16 + lane / 4;
  const int column =
      first_column + (warp % Shape::kWarpsN) * (Shape::kTilesN / 2) * 8 + lane % 4 * 2;
#pragma unroll
  for (int m = 0; m < Shape::kTilesM; m++) {
#pragma unroll
    for (int n = 0; n < Shape::kTilesN; n += 2) {
#pragma unroll
      for (int i = 0; i < 4; i++) {
        const int p = row + m * 16 + i / 2 * 8;
        const int c = column + n * 4 + i % 2;
        const float g = sums.at[m][n][i];
        if (p < tile.last && c < intermediate) {
          inner[static_cast<size_t>(p) * intermediate + c] =
              __float2bfloat16(g / (1.0f + __expf(-g)) * sums.at[m][n + 1][i]);
        }
      }
    }
  }
}

template <typename Shape>
__device__ __forceinline__ void down(float* answers, const __nv_bfloat16* inner,
                                     const __nv_bfloat16* weight, const int* offsets,
                                     int num_experts, int hidden, int intermediate) {
  extern __shared__ __align__(128) unsigned char shared[];
  const ExpertTile tile = find_tile(offsets, num_experts, blockIdx.x, Shape::kBM);
  if (tile.expert < 0) {
    return;
  }
  const int first_column = blockIdx.y * Shape::kBN;
  const __nv_bfloat16* rows = weight + static_cast<size_t>(tile.expert) * hidden * intermediate;
  TileSums<Shape> sums;
  multiply_tile<Shape>(
      sums, shared, inner, weight, intermediate,
      [=](int row) {
        const int p = tile.first + row;
        return p < tile.last ? inner + static_cast<size_t>(p) * intermediate : nullptr;
      },
      [=](int row) {
        const int column = first_column + row;
        return column < hidden ? rows + static_cast<size_t>(column) * intermediate : nullptr;
      });
  for_each_pair(sums, [=](int row, int column, float first, float second) {
    const int p = tile.first + row;
    const int c = first_column + column;
    if (p < tile.last) {
      float* answer = answers + static_cast<size_t>(p) * hidden;
      if (c < hidden) answer[c] = first;
      if (c + 1 < hidden) answer[c + 1] = second;
    }
  });
}

}  // namespace

// One block. A warp takes one expert and one contiguous segment of the pairs: first it counts, then
// it writes the pairs' places, in order, from where the experts and segments before it end.
extern "C" __global__ void __launch_bounds__(kSortThreads)
    expert_sort(int* offsets,            // [E + 1]
                int* sorted_pairs,       // [P]
                int* place,              // [P], where a pair went, -1 for nowhere
                const int* expert_ids,   // [T, K]
                int pairs, int num_experts) {
  __shared__ int counts[kMaxExperts + kSortWarps];
  const int lane = threadIdx.x % kWarpSize;
  const int warp = threadIdx.x / kWarpSize;
  const int segments = num_experts < kSortWarps ? kSortWarps / num_experts : 1;
  const int tasks = num_experts * segments;
  const int segment_length = (pairs + segments - 1) / segments;
  for (int pair = threadIdx.x; pair < pairs; pair += kSortThreads) {
    place[pair] = -1;
  }
  for (int task = warp; task < tasks; task += kSortWarps) {
    const int expert = task / segments;
    const int first = task % segments * segment_length;
    const int last = min(pairs, first + segment_length);
    int count = 0;
    for (int base = first; base < last; base += kWarpSize) {
      const bool mine = base + lane < last && expert_ids[base + lane] == expert;
      count += __popc(__ballot_sync(0xffffffffu, mine));
    }
    if (lane == 0) {
      counts[task] = count;
    }
  }
  __syncthreads();
  if (threadIdx.x == 0) {
    int sum = 0;
    for (int task = 0; task < tasks; task++) {
      if (task % segments == 0) {
        offsets[task / segments] = sum;
      }
      const int count = counts[task];
      counts[task] = sum;
      sum += count;
    }
    offsets[num_experts] = sum;
  }
  __syncthreads();
  for (int task = warp; task < tasks; task += kSortWarps) {
    const int expert = task / segments;
    const int first = task % segments * segment_length;
    const int last = min(pairs, first + segment_length);
    int next = counts[task];
    for (int base = first; base < last; base += kWarpSize) {
      const int pair = base + lane;
      const bool mine = pair < last && expert_ids[pair] == expert;
      const unsigned int votes = __ballot_sync(0xffffffffu, mine);
      if (mine) {
        const int at = next + __popc(votes & ((1u << lane) - 1));
        sorted_pairs[at] = pair;
        place[pair] = at;
      }
      next += __popc(votes);
    }
  }
}

#define GATE_UP(NAME, SHAPE)                                                                     \
  extern "C" __global__ void __launch_bounds__(SHAPE::kThreads)                                  \
      NAME(__nv_bfloat16* inner, const __nv_bfloat16* x, const __nv_bfloat16* weight,            \
           const int* offsets, const int* sorted_pairs, int num_experts, int per_token,          \
           int hidden, int intermediate) {                                                       \
    gate_up<SHAPE>(inner, x, weight, offsets, sorted_pairs, num_experts, per_token, hidden,      \
                   intermediate);                                                                \
  }

#define DOWN(NAME, SHAPE)                                                                        \
  extern "C" __global__ void __launch_bounds__(SHAPE::kThreads)                                  \
      NAME(float* answers, const __nv_bfloat16* inner, const __nv_bfloat16* weight,              \
           const int* offsets, int num_experts, int hidden, int intermediate) {                  \
    down<SHAPE>(answers, inner, weight, offsets, num_experts, hidden, intermediate);             \
  }

// Grids: (tiles, ceil(I / (BN / 2))) and (tiles, ceil(D / BN)).
GATE_UP(expert_gate_up_bf16_m16, SmallTile)
GATE_UP(expert_gate_up_bf16_m64, MediumTile)
GATE_UP(expert_gate_up_bf16_m128, LargeTile)
DOWN(expert_down_bf16_m16, SmallTile)
DOWN(expert_down_bf16_m64, MediumTile)
DOWN(expert_down_bf16_m128, LargeTile)

// One block per token. out is fp32 or bf16.
extern "C" __global__ void expert_combine_bf16(void* out,                    // [T, D]
                                               const float* answers,         // [P, D]
                                               const float* expert_weights,  // [T, K]
                                               const int* place,             // [T, K]
                                               int per_token, int hidden, int out_is_f32) {
  const size_t token = blockIdx.x;
  for (int i = threadIdx.x; i < hidden; i += blockDim.x) {
    float sum = 0.0f;
    for (int slot = 0; slot < per_token; slot++) {
      const int p = place[token * per_token + slot];
      if (p >= 0) {
        sum = fmaf(expert_weights[token * per_token + slot],
                   answers[static_cast<size_t>(p) * hidden + i], sum);
      }
    }
    if (out_is_f32 != 0) {
      static_cast<float*>(out)[token * hidden + i] = sum;
    } else {
      static_cast<__nv_bfloat16*>(out)[token * hidden + i] = __float2bfloat16(sum);
    }
  }
}
