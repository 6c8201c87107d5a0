// Activations to E4M3 for the FP8 GEMMs (gemm_formats.cuh), one block a padded row:
//
//   quantize_rows_fp8    rows of x [rows, K] of a projection to token tiles of codes and their scales
//   quantize_gather_fp8  the same for the rows that experts' plans name (expert_gather_bf16)
//   quantize_tiles_fp8   from bf16 token tiles (the experts' hidden rows) of 64 columns
//   ..._narrow           the first two for K of at most 4,096: fewer registers, twice the blocks at once
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
constexpr int kMaxChunks = 8;  // of a thread
constexpr int kNarrowChunks = 2;
constexpr int kLanesOfBlock = kCodeColumns / kChunk;  // lanes that hold 128 columns

struct QuantizedTiles {
  char* codes;
  float* scales;
  int k_tiles;  // of 128 columns
  int recipe;
  float static_scale;  // what is stored, 1 / scale
  unsigned long long* saturated;  // in host memory: values that static_scale cuts off
};

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

// Two codes of neighbouring columns, the lower one in the low byte.
__device__ __forceinline__ uint32_t code_pair(float low, float high) {
  return __nv_cvt_float2_to_fp8x2(make_float2(low, high), __NV_SATFINITE, __NV_E4M3);
}

// Eight columns from a multiple of 8 on become two words of their row. Chunks j and j + 1 (j even)
// are the halves of a k16 step and share words: columns 2 c, 2 c + 1 of both are word c. All lanes
// of a warp must call it; the even chunk's lane gets words 0 and 1, the odd one's 2 and 3.
__device__ __forceinline__ uint2 code_words(const Bf16x8& from, int chunk, float scale) {
  float v[kChunk];
  unpack(from, v);
  uint32_t pairs[4];
#pragma unroll
  for (int c = 0; c < 4; c++) {
    pairs[c] = code_pair(v[2 * c] * scale, v[2 * c + 1] * scale);
  }
  const bool odd = chunk % 2 == 1;
  const uint32_t give0 = odd ? pairs[0] : pairs[2];
  const uint32_t give1 = odd ? pairs[1] : pairs[3];
  const uint32_t got0 = __shfl_xor_sync(0xffffffffu, give0, 1);
  const uint32_t got1 = __shfl_xor_sync(0xffffffffu, give1, 1);
  // Bytes: column 2 c of both halves of the step, then column 2 c + 1 of both.
  return make_uint2(__byte_perm(odd ? got0 : pairs[0], odd ? pairs[2] : got0, 0x5140),
                    __byte_perm(odd ? got1 : pairs[1], odd ? pairs[3] : got1, 0x5140));
}

// chunk: 0 to 15, of the tile's row.
__device__ __forceinline__ void store_words(char* tile, int row, int chunk, uint2 words) {
  const int first = chunk / 8 * 4 + chunk % 2 * 2;
  const int step = chunk % 8 / 2;
  *reinterpret_cast<uint32_t*>(tile + swizzled_bytes(row, first) + step * 4) = words.x;
  *reinterpret_cast<uint32_t*>(tile + swizzled_bytes(row, first + 1) + step * 4) = words.y;
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

template <int kChunks>
__device__ __forceinline__ int cut_off(const Bf16x8 (&chunks)[kChunks], float scale) {
  int count = 0;
#pragma unroll
  for (int i = 0; i < kChunks; i++) {
    float values[kChunk];
    unpack(chunks[i], values);
#pragma unroll
    for (int c = 0; c < kChunk; c++) {
      count += is_cut_off(values[c], scale);
    }
  }
  return count;
}

// load(chunk) gives 8 columns of a row, zeros beyond K. Returns the largest magnitude of the thread's.
template <int kChunks, class Load>
__device__ __forceinline__ float load_row(Bf16x8 (&own)[kChunks], int chunks, const Load& load) {
  float largest = 0.0f;
#pragma unroll
  for (int i = 0; i < kChunks; i++) {
    const int chunk = i * kThreads + threadIdx.x;
    own[i] = chunk < chunks ? load(chunk) : Bf16x8{};
  }
#pragma unroll
  for (int i = 0; i < kChunks; i++) {
    if (i * kThreads < chunks) {
      largest = fmaxf(largest, largest_of(own[i]));
    }
  }
  return largest;
}

// The scale of a row, unless blocks have their own.
template <int kChunks>
__device__ __forceinline__ float find_scale(const QuantizedTiles& to, const Bf16x8 (&own)[kChunks],
                                            float largest) {
  if (to.recipe == kStatic) {
    const float scale = __frcp_rn(to.static_scale);
    count_saturated(to.saturated, cut_off(own, scale));
    return scale;
  }
  return to.recipe == kPerRow ? scale_of(block_largest(largest), kPerRow) : 1.0f;
}

// A row's codes as they are stored, and what is stored of its scales.
template <int kChunks>
struct CodedRow {
  uint2 words[kChunks];
  float inverse[kChunks];  // of the thread's blocks; without blocks the row's
};

__device__ __forceinline__ bool has_blocks(int recipe) {
  return recipe == kBlock || recipe == kBlockPow2;
}

// Every thread of the block must call it.
template <int kChunks>
__device__ __forceinline__ CodedRow<kChunks> code_row(const QuantizedTiles& to,
                                                      const Bf16x8 (&own)[kChunks], float scale) {
  CodedRow<kChunks> row;
#pragma unroll
  for (int i = 0; i < kChunks; i++) {
    if (i * kThreads >= to.k_tiles * kLanesOfBlock) {
      break;  // the whole block
    }
    if (has_blocks(to.recipe)) {
      float most = largest_of(own[i]);
#pragma unroll
      for (int offset = kLanesOfBlock / 2; offset > 0; offset /= 2) {
        most = fmaxf(most, __shfl_xor_sync(0xffffffffu, most, offset));
      }
      scale = scale_of(most, to.recipe);
    }
    row.inverse[i] = to.recipe == kStatic ? to.static_scale : __frcp_rn(scale);
    row.words[i] = code_words(own[i], threadIdx.x, scale);
  }
  return row;
}

template <int kChunks>
__device__ __forceinline__ void store_row(const QuantizedTiles& to, const GroupPlan& group, int row,
                                          const CodedRow<kChunks>& coded) {
  const int in_tile = (row - group.first_row) % group.tile_rows;
  const size_t tile_row = row - in_tile;  // first row of the token tile
  const size_t start = tile_row * to.k_tiles;
  if (!has_blocks(to.recipe) && threadIdx.x == 0) {
    to.scales[row] = coded.inverse[0];
  }
#pragma unroll
  for (int i = 0; i < kChunks; i++) {
    const int chunk = i * kThreads + threadIdx.x;
    if (chunk < to.k_tiles * kLanesOfBlock) {
      const size_t at = start + static_cast<size_t>(chunk / kLanesOfBlock) * group.tile_rows;
      if (has_blocks(to.recipe) && chunk % kLanesOfBlock == 0) {
        to.scales[at + in_tile] = coded.inverse[i];
      }
      store_words(to.codes + at * kRowBytes, in_tile, chunk % kLanesOfBlock, coded.words[i]);
    }
  }
}

// Quantises padded row `row` of `group`. Every thread of the block must call it.
template <int kChunks, class Load>
__device__ __forceinline__ void quantize(const QuantizedTiles& to, const GroupPlan& group, int row,
                                         const Load& load) {
  Bf16x8 own[kChunks];
  const float largest = load_row(own, to.k_tiles * kLanesOfBlock, load);
  store_row(to, group, row, code_row(to, own, find_scale(to, own, largest)));
}

// Columns 8 chunk to 8 chunk + 7 of a row-major row of K, null for padding.
__device__ __forceinline__ Bf16x8 row_chunk(const __nv_bfloat16* row, int chunk, int width) {
  return row != nullptr && chunk * kChunk < width
             ? *reinterpret_cast<const Bf16x8*>(row + chunk * kChunk)
             : Bf16x8{};
}

}  // namespace

#define GREGALE_QUANTIZE(suffix, kChunks, kBlocks)                                                 \
  extern "C" __global__ void __launch_bounds__(kThreads, kBlocks) quantize_rows_fp8##suffix(       \
      char* codes,             /* tiled [rows, 128 k_tiles] */                                     \
      float* scales,           /* of rows or blocks */                                             \
      const __nv_bfloat16* x,  /* [rows, K] */                                                     \
      int rows, int width, int max_tile_rows, int recipe, float static_scale,                      \
      unsigned long long* saturated) {                                                             \
    const GroupPlan plan = plan_group(0, rows, max_tile_rows);                                     \
    const int row = blockIdx.x;                                                                    \
    if (row >= plan.tiles * plan.tile_rows) {                                                      \
      return;                                                                                      \
    }                                                                                              \
    const __nv_bfloat16* from = row < rows ? x + static_cast<size_t>(row) * width : nullptr;       \
    quantize<kChunks>(                                                                             \
        {codes, scales, ceil_div(width, kCodeColumns), recipe, static_scale, saturated}, plan,     \
        row, [&](int chunk) { return row_chunk(from, chunk, width); });                            \
  }                                                                                                \
  extern "C" __global__ void __launch_bounds__(kThreads, kBlocks) quantize_gather_fp8##suffix(     \
      char* codes, float* scales,                                                                  \
      const __nv_bfloat16* x,  /* [T, D] */                                                        \
      const GroupPlan* plan,   /* [E + 1] */                                                       \
      const int* row_pair,     /* [padded rows] */                                                 \
      int experts, int experts_per_token, int width, int recipe, float static_scale,               \
      unsigned long long* saturated) {                                                             \
    const int row = blockIdx.x;                                                                    \
    const int expert = expert_of(plan, experts, row);                                              \
    if (expert == experts) {                                                                       \
      return;                                                                                      \
    }                                                                                              \
    const int pair = row_pair[row];                                                                \
    const __nv_bfloat16* from =                                                                    \
        pair < 0 ? nullptr : x + static_cast<size_t>(pair / experts_per_token) * width;            \
    quantize<kChunks>(                                                                             \
        {codes, scales, ceil_div(width, kCodeColumns), recipe, static_scale, saturated},           \
        plan[expert], row, [&](int chunk) { return row_chunk(from, chunk, width); });              \
  }

GREGALE_QUANTIZE(, kMaxChunks, 4)
GREGALE_QUANTIZE(_narrow, kNarrowChunks, 8)

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
  const bool valid = row_pair[row] >= 0;
  const int in_tile = (row - group.first_row) % group.tile_rows;
  const __nv_bfloat16* tile = tiles + static_cast<size_t>(row - in_tile) * token_tiles * kTileK;
  quantize<kMaxChunks>(
      {codes, scales, ceil_div(token_tiles, 2), recipe, static_scale, saturated}, group, row,
      [&](int chunk) {
        return valid && chunk / kChunksPerRow < token_tiles
                   ? *reinterpret_cast<const Bf16x8*>(
                         token_chunk(tile, group.tile_rows, in_tile, chunk))
                   : Bf16x8{};
      });
}
