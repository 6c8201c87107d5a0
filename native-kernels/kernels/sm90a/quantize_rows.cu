// Activations to E4M3 for the FP8 GEMMs (gemm_formats.cuh), one block a padded row:
//
//   quantize_rows_fp8    rows of x [rows, K] of a projection to token tiles of codes and their scales
//   quantize_gather_fp8  the same for the rows that experts' plans name (expert_gather_bf16)
//   quantize_scatter_fp8 the same, each token once for all of its experts
//   quantize_tiles_fp8   from bf16 token tiles (the experts' hidden rows) of 64 columns
//   quantize_rest_fp8    the same where gate_up has quantised rows already (quantized_hidden.cuh)
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
// Launch: block 256, grid = padded rows at most; K a multiple of 64, at most 16,384. Programmatic
// dependent launch is optional.

#include "dependent_launch.cuh"
#include "quantized_tiles.cuh"

namespace {

constexpr int kThreads = 256;
constexpr int kMaxChunks = 8;  // of a thread

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

using RowChunks = Bf16x8[kMaxChunks];

// load(chunk) gives 8 columns of a row, zeros beyond K. Returns the largest magnitude of the thread's.
template <class Load>
__device__ __forceinline__ float load_row(RowChunks& own, int chunks, const Load& load) {
  float largest = 0.0f;
#pragma unroll
  for (int i = 0; i < kMaxChunks; i++) {
    const int chunk = i * kThreads + threadIdx.x;
    own[i] = chunk < chunks ? load(chunk) : Bf16x8{};
  }
#pragma unroll
  for (int i = 0; i < kMaxChunks; i++) {
    if (i * kThreads < chunks) {
      largest = fmaxf(largest, largest_of(own[i]));
    }
  }
  return largest;
}

// The scale of a row, unless blocks have their own. `uses`: how often its values count as cut off.
__device__ __forceinline__ float find_scale(const QuantizedTiles& to, const RowChunks& own,
                                            float largest, int uses) {
  if (to.recipe == kStatic) {
    const float scale = __frcp_rn(to.static_scale);
    count_saturated(to.saturated, cut_off(own, scale) * uses);
    return scale;
  }
  return to.recipe == kPerRow ? scale_of(block_largest(largest), kPerRow) : 1.0f;
}

// A row's codes as they are stored, and what is stored of its scales.
struct CodedRow {
  uint2 words[kMaxChunks];
  float inverse[kMaxChunks];  // of the thread's blocks; without blocks the row's
};

__device__ __forceinline__ bool has_blocks(int recipe) {
  return recipe == kBlock || recipe == kBlockPow2;
}

// Every thread of the block must call it.
__device__ __forceinline__ CodedRow code_row(const QuantizedTiles& to, const RowChunks& own,
                                             float scale) {
  CodedRow row;
#pragma unroll
  for (int i = 0; i < kMaxChunks; i++) {
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

__device__ __forceinline__ void store_row(const QuantizedTiles& to, const GroupPlan& group, int row,
                                          const CodedRow& coded) {
  const int in_tile = (row - group.first_row) % group.tile_rows;
  const size_t tile_row = row - in_tile;  // first row of the token tile
  const size_t start = tile_row * to.k_tiles;
  if (!has_blocks(to.recipe) && threadIdx.x == 0) {
    to.scales[row] = coded.inverse[0];
  }
#pragma unroll
  for (int i = 0; i < kMaxChunks; i++) {
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
template <class Load>
__device__ __forceinline__ void quantize(const QuantizedTiles& to, const GroupPlan& group, int row,
                                         const Load& load) {
  RowChunks own;
  const float largest = load_row(own, to.k_tiles * kLanesOfBlock, load);
  store_row(to, group, row, code_row(to, own, find_scale(to, own, largest, 1)));
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
  wait_for_predecessor();
  release_successor();
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

// From bf16 token tiles; rows of padding become zeros.
__device__ __forceinline__ void quantize_token_row(const QuantizedTiles& to,
                                                   const __nv_bfloat16* tiles, int token_tiles,
                                                   const GroupPlan& group, int row, bool valid) {
  const int in_tile = (row - group.first_row) % group.tile_rows;
  const __nv_bfloat16* tile = tiles + static_cast<size_t>(row - in_tile) * token_tiles * kTileK;
  quantize(to, group, row, [&](int chunk) {
    return valid && chunk / kChunksPerRow < token_tiles
               ? *reinterpret_cast<const Bf16x8*>(token_chunk(tile, group.tile_rows, in_tile, chunk))
               : Bf16x8{};
  });
}

}  // namespace

extern "C" __global__ void __launch_bounds__(kThreads, 4)
    quantize_gather_fp8(char* codes, float* scales,
                        const __nv_bfloat16* x,  // [T, D]
                        const GroupPlan* plan,   // [E + 1]
                        const int* row_pair,     // [padded rows]
                        int experts, int experts_per_token, int width, int recipe,
                        float static_scale, unsigned long long* saturated) {
  wait_for_predecessor();
  release_successor();
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

// The same, a block a token, each read and quantised once for all of its experts; the blocks behind the
// tokens' clear rows of padding. Grid: T + padded rows - T K at most. Clears work, [2 E] ints, for
// expert_gate_up_fp8_codes.
extern "C" __global__ void __launch_bounds__(kThreads, 3)
    quantize_scatter_fp8(char* codes, float* scales,
                         const __nv_bfloat16* x,  // [T, D]
                         const GroupPlan* plan,   // [E + 1]
                         const int* pair_row,     // [T, K]
                         int* work, int tokens, int experts, int experts_per_token, int width,
                         int recipe, float static_scale, unsigned long long* saturated) {
  const QuantizedTiles to{codes,  scales,       ceil_div(width, kCodeColumns),
                          recipe, static_scale, saturated};
  const int token = blockIdx.x;
  const __nv_bfloat16* from = token < tokens ? x + static_cast<size_t>(token) * width : nullptr;
  RowChunks own;
  const float largest = load_row(own, to.k_tiles * kLanesOfBlock,
                                 [&](int chunk) { return row_chunk(from, chunk, width); });
  wait_for_predecessor();
  release_successor();
  if (token == 0 && static_cast<int>(threadIdx.x) < 2 * experts) {
    work[threadIdx.x] = 0;
  }
  if (token >= tokens) {
    int padding = token - tokens;
    for (int expert = 0; expert < experts; expert++) {
      const GroupPlan group = plan[expert];
      const int rows = group.tiles * group.tile_rows - group.rows;
      if (padding < rows) {
        store_row(to, group, group.first_row + group.rows + padding, code_row(to, own, 1.0f));
        return;
      }
      padding -= rows;
    }
    return;
  }
  const int* row_of = pair_row + static_cast<size_t>(token) * experts_per_token;
  int uses = 0;
  for (int slot = 0; slot < experts_per_token; slot++) {
    uses += row_of[slot] >= 0;
  }
  const CodedRow coded = code_row(to, own, find_scale(to, own, largest, uses));
#pragma unroll 1
  for (int slot = 0; slot < experts_per_token; slot++) {
    if (row_of[slot] >= 0) {
      store_row(to, plan[expert_of(plan, experts, row_of[slot])], row_of[slot], coded);
    }
  }
}

extern "C" __global__ void __launch_bounds__(kThreads, 4)
    quantize_tiles_fp8(char* codes, float* scales,
                       const __nv_bfloat16* tiles,  // tiled [padded rows, 64 token_tiles]
                       const GroupPlan* plan,       // [E + 1]
                       const int* row_pair,         // [padded rows]
                       int experts, int token_tiles, int recipe, float static_scale,
                       unsigned long long* saturated) {
  wait_for_predecessor();
  release_successor();
  const int row = blockIdx.x;
  const int expert = expert_of(plan, experts, row);
  if (expert == experts) {
    return;
  }
  quantize_token_row({codes, scales, ceil_div(token_tiles, 2), recipe, static_scale, saturated}, tiles,
                     token_tiles, plan[expert], row, row_pair[row] >= 0);
}

// The same for the rows that expert_gate_up_fp8_codes left, which quantises its own rows as far as it
// gets: of expert e those from taken[e] on. Any grid.
extern "C" __global__ void __launch_bounds__(kThreads, 2)
    quantize_rest_fp8(char* codes, float* scales, const __nv_bfloat16* tiles, const GroupPlan* plan,
                      const int* taken,  // [E]
                      int experts, int token_tiles, int recipe, float static_scale,
                      unsigned long long* saturated) {
  wait_for_predecessor();
  release_successor();
  const QuantizedTiles to{codes, scales, ceil_div(token_tiles, 2), recipe, static_scale, saturated};
  int turn = blockIdx.x;
  for (int expert = 0; expert < experts; expert++) {
    const GroupPlan group = plan[expert];
    const int done = min(taken[expert], group.tiles * group.tile_rows);
    const int left = group.tiles * group.tile_rows - done;
    for (; turn < left; turn += gridDim.x) {
      quantize_token_row(to, tiles, token_tiles, group, group.first_row + done + turn,
                         done + turn < group.rows);
      __syncthreads();  // the next row's largest values go where this one's were
    }
    turn -= left;
  }
}
