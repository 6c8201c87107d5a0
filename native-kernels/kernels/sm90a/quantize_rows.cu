// Activations to E4M3 for the FP8 GEMMs (gemm_formats.cuh), one block a padded row:
//
//   quantize_rows_fp8    rows of x [rows, K] of a projection to token tiles of codes and their scales
//   quantize_gather_fp8  the same for the rows that experts' plans name (expert_gather_bf16)
//   quantize_tiles_fp8   from bf16 token tiles (the experts' hidden rows) of 64 columns
//
// Recipes (TransformerEngine's): kPerRow, one scale of a row, 448 / largest magnitude; kBlock and
// kBlockPow2, one of every 128 columns, the latter with its mantissa cut off; kStatic, the scale of
// the checkpoint, which alone may cut values off: those are counted. code = rne(x * scale), at most 448 in magnitude; what is stored is 1 / scale. A row
// or block of zeros, or with an infinity, has scale 1. Nothing depends on other rows: packed equals
// alone.
//
// Tiles hold 128 columns of a row in the order of fp8_codes.cuh, [token tile][k_tile][n rows x 128
// bytes], swizzled; columns beyond K are zero, as are padding rows. Scales: [padded row], or for
// blocks [token tile][k_tile][n].
//
// Launch: block 256, grid = padded rows at most; K a multiple of 64, at most 16,384.

#include <cuda_fp8.h>

#include "common.cuh"
#include "fp8_codes.cuh"
#include "grouped_plan.cuh"
#include "input_scales.cuh"

namespace {

constexpr int kThreads = 256;
constexpr int kLanesOfBlock = kCodeColumns / kChunk;  // lanes that hold 128 columns
constexpr int kMaxChunks = 8;                         // of a thread

__device__ __forceinline__ float largest_of(const Bf16x8& chunk) {
  float values[kChunk];
  unpack(chunk, values);
  float largest = 0.0f;
#pragma unroll
  for (int i = 0; i < kChunk; i++) {
    largest = fmaxf(largest, fabsf(values[i]));
  }
  return largest;
}

__device__ __forceinline__ float block_largest(float value) {
  __shared__ float partial[kThreads / kWarpSize];
#pragma unroll
  for (int offset = kWarpSize / 2; offset > 0; offset /= 2) {
    value = fmaxf(value, __shfl_xor_sync(0xffffffffu, value, offset));
  }
  if (threadIdx.x % kWarpSize == 0) {
    partial[threadIdx.x / kWarpSize] = value;
  }
  __syncthreads();
#pragma unroll
  for (int i = 0; i < kThreads / kWarpSize; i++) {
    value = fmaxf(value, partial[i]);
  }
  return value;
}

// Two codes of neighbouring columns, the lower one in the low byte.
__device__ __forceinline__ uint32_t code_pair(float low, float high) {
  return __nv_cvt_float2_to_fp8x2(make_float2(low, high), __NV_SATFINITE, __NV_E4M3);
}

// Eight columns from a multiple of 8 on become two words of their row. Chunks j and j + 1 (j even)
// are the halves of a k16 step and share words: columns 2 c, 2 c + 1 of both are word c. All lanes
// of a warp must call it; those not `inside` write nothing.
__device__ __forceinline__ void store_codes(char* tile, int row, int chunk, const Bf16x8& from,
                                            float scale, bool inside) {
  float v[kChunk];
  unpack(from, v);
  uint32_t pairs[4];
#pragma unroll
  for (int c = 0; c < 4; c++) {
    pairs[c] = code_pair(v[2 * c] * scale, v[2 * c + 1] * scale);
  }
  // The even chunk's lane writes words 0 and 1, the odd one's 2 and 3.
  const bool odd = chunk % 2 == 1;
  const uint32_t give0 = odd ? pairs[0] : pairs[2];
  const uint32_t give1 = odd ? pairs[1] : pairs[3];
  const uint32_t got0 = __shfl_xor_sync(0xffffffffu, give0, 1);
  const uint32_t got1 = __shfl_xor_sync(0xffffffffu, give1, 1);
  const uint32_t even_pairs[2] = {odd ? got0 : pairs[0], odd ? got1 : pairs[1]};
  const uint32_t odd_pairs[2] = {odd ? pairs[2] : got0, odd ? pairs[3] : got1};
  const int step = chunk % 8 / 2;
  const int half = chunk / 8;
#pragma unroll
  for (int i = 0; i < 2; i++) {
    // Bytes: column 2 c of both halves of the step, then column 2 c + 1 of both.
    const uint32_t word = __byte_perm(even_pairs[i], odd_pairs[i], 0x5140);
    const int c = (odd ? 2 : 0) + i;
    if (inside) {
      *reinterpret_cast<uint32_t*>(tile + swizzled_bytes(row, 4 * half + c) + step * 4) = word;
    }
  }
}

__device__ __forceinline__ int cut_off(const Bf16x8 (&chunks)[kMaxChunks], float scale) {
  int count = 0;
#pragma unroll
  for (int i = 0; i < kMaxChunks; i++) {
    float values[kChunk];
    unpack(chunks[i], values);
#pragma unroll
    for (int c = 0; c < kChunk; c++) {
      count += is_cut_off(values[c], scale);
    }
  }
  return count;
}

struct QuantizedTiles {
  char* codes;
  float* scales;
  int k_tiles;  // of 128 columns
  int recipe;
  float static_scale;  // what is stored, 1 / scale
  unsigned long long* saturated;  // in host memory: values that static_scale cuts off
};

// Quantises padded row `row` of `group`. load(chunk) gives 8 columns of it, zeros beyond K. Every
// thread of the block must call it.
template <class Load>
__device__ __forceinline__ void quantize(const QuantizedTiles& to, const GroupPlan& group, int row,
                                         const Load& load) {
  const int in_tile = (row - group.first_row) % group.tile_rows;
  const size_t tile_row = row - in_tile;  // first row of the token tile
  const int chunks = to.k_tiles * kLanesOfBlock;
  Bf16x8 own[kMaxChunks];
  float largest = 0.0f;
#pragma unroll
  for (int i = 0; i < kMaxChunks; i++) {
    const int chunk = i * kThreads + threadIdx.x;
    own[i] = chunk < chunks ? load(chunk) : Bf16x8{};
    largest = fmaxf(largest, largest_of(own[i]));
  }
  float scale = 1.0f;
  if (to.recipe == kStatic) {
    scale = __frcp_rn(to.static_scale);
  } else if (to.recipe == kPerRow) {
    scale = scale_of(block_largest(largest), kPerRow);
  }
  if (to.recipe == kStatic) {
    count_saturated(to.saturated, cut_off(own, scale));
  }
  const bool blocks = to.recipe == kBlock || to.recipe == kBlockPow2;
  if (!blocks && threadIdx.x == 0) {
    to.scales[row] = to.recipe == kStatic ? to.static_scale : __frcp_rn(scale);
  }
#pragma unroll
  for (int i = 0; i < kMaxChunks; i++) {
    const int chunk = i * kThreads + threadIdx.x;
    if (chunk - static_cast<int>(threadIdx.x % kWarpSize) >= chunks) {
      break;  // the whole warp
    }
    const bool inside = chunk < chunks;  // 16 lanes alike: a tile's
    const int tile = chunk / kLanesOfBlock;
    if (blocks) {
      float most = inside ? largest_of(own[i]) : 0.0f;
#pragma unroll
      for (int offset = kLanesOfBlock / 2; offset > 0; offset /= 2) {
        most = fmaxf(most, __shfl_xor_sync(0xffffffffu, most, offset));
      }
      scale = scale_of(most, to.recipe);
      if (inside && chunk % kLanesOfBlock == 0) {
        to.scales[tile_row * to.k_tiles + static_cast<size_t>(tile) * group.tile_rows + in_tile] =
            __frcp_rn(scale);
      }
    }
    store_codes(to.codes + (tile_row * to.k_tiles + static_cast<size_t>(tile) * group.tile_rows) *
                               kRowBytes,
                in_tile, chunk % kLanesOfBlock, own[i], scale, inside);
  }
}

// Columns 8 chunk to 8 chunk + 7 of a row-major row of K, null for padding.
__device__ __forceinline__ Bf16x8 row_chunk(const __nv_bfloat16* row, int chunk, int width) {
  return row != nullptr && chunk * kChunk < width
             ? *reinterpret_cast<const Bf16x8*>(row + chunk * kChunk)
             : Bf16x8{};
}

}  // namespace

extern "C" __global__ void __launch_bounds__(kThreads, 4)
    quantize_rows_fp8(char* codes,             // tiled [rows, 128 k_tiles]
                      float* scales,           // of rows or blocks
                      const __nv_bfloat16* x,  // [rows, K]
                      int rows, int width, int max_tile_rows, int recipe, float static_scale,
                      unsigned long long* saturated) {
  const GroupPlan plan = plan_group(0, rows, max_tile_rows);
  const int row = blockIdx.x;
  if (row >= plan.tiles * plan.tile_rows) {
    return;
  }
  const __nv_bfloat16* from = row < rows ? x + static_cast<size_t>(row) * width : nullptr;
  quantize({codes, scales, ceil_div(width, kCodeColumns), recipe, static_scale, saturated}, plan, row,
           [&](int chunk) { return row_chunk(from, chunk, width); });
}

namespace {

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

}  // namespace

extern "C" __global__ void __launch_bounds__(kThreads, 4)
    quantize_gather_fp8(char* codes, float* scales,
                        const __nv_bfloat16* x,  // [T, D]
                        const GroupPlan* plan,   // [E + 1]
                        const int* row_pair,     // [padded rows]
                        int experts, int experts_per_token, int width, int recipe,
                        float static_scale, unsigned long long* saturated) {
  const int row = blockIdx.x;
  const int expert = expert_of(plan, experts, row);
  if (expert == experts) {
    return;
  }
  const int pair = row_pair[row];
  const __nv_bfloat16* from =
      pair < 0 ? nullptr : x + static_cast<size_t>(pair / experts_per_token) * width;
  quantize({codes, scales, ceil_div(width, kCodeColumns), recipe, static_scale, saturated}, plan[expert], row,
           [&](int chunk) { return row_chunk(from, chunk, width); });
}

extern "C" __global__ void __launch_bounds__(kThreads, 4)
    quantize_tiles_fp8(char* codes, float* scales,
                       const __nv_bfloat16* tiles,  // tiled [padded rows, 64 token_tiles]
                       const GroupPlan* plan,       // [E + 1]
                       const int* row_pair,         // [padded rows]
                       int experts, int token_tiles, int recipe, float static_scale,
                       unsigned long long* saturated) {
  const int row = blockIdx.x;
  const int expert = expert_of(plan, experts, row);
  if (expert == experts) {
    return;
  }
  const GroupPlan group = plan[expert];
  const int in_tile = (row - group.first_row) % group.tile_rows;
  const size_t start = static_cast<size_t>(row - in_tile) * token_tiles * kTileK;
  const bool valid = row_pair[row] >= 0;
  quantize({codes, scales, ceil_div(token_tiles, 2), recipe, static_scale, saturated}, group, row,
           [&](int chunk) {
             const int tile = chunk / kChunksPerRow;
             if (!valid || tile >= token_tiles) {
               return Bf16x8{};
             }
             return *reinterpret_cast<const Bf16x8*>(
                 tiles + start + static_cast<size_t>(tile) * group.tile_rows * kTileK +
                 swizzled_bytes(in_tile, chunk % kChunksPerRow) / 2);
           });
}
