// Weights into the tiled layout (tiled_layout.cuh), at load: row-major bf16 in, tiles out, zeros in
// every padding row and column.
//
//   tile_weight_bf16    [E, N, K] (E = 1 for a projection)
//   tile_gate_up_bf16   gate [E, I, D] and up [E, I, D], rows interleaved in groups of eight
//
// Launch: block 256; grid (k_tiles, n_tiles, E) with k_tiles = ceil(K / 64); n_tiles = ceil(N /
// 128) or, for gate and up, ceil(I / 64); no dynamic shared memory. One block writes one 16 KB
// tile. out takes tiled_weight_elements(E, N, K) bf16 (gate and up: N = 128 ceil(I / 64)) and
// starts on a multiple of 1,024 bytes. Pieces may be converted one at a time: an expert, or 128
// rows (gate and up: 64 rows of each), starts at its own whole number of tiles. Gate and up may be
// one tensor [E, 2 I, D]: up = gate + I * D, expert_stride = 2 * I * D; as two tensors of each
// expert: E = 1. expert_stride counts elements. K and D that are no multiple of 8 are read element
// by element.

#include "tile_rows.cuh"

namespace {

// One tile: row r of it comes from source(r), null for padding.
template <class Source>
__device__ __forceinline__ void write_tile(__nv_bfloat16* tile, const Source& source, int first_k,
                                           int width) {
  for (int at = threadIdx.x; at < kTileRows * kChunksPerRow; at += blockDim.x) {
    const int row = at / kChunksPerRow;
    const int column = at % kChunksPerRow * kChunk;
    *reinterpret_cast<Bf16x8*>(tile + swizzled_element(row, column)) =
        load_chunk(source(row), first_k + column, width);
  }
}

}  // namespace

extern "C" __global__ void tile_weight_bf16(__nv_bfloat16* out,  // tiled [E][n_tiles][k_tiles]
                                            const __nv_bfloat16* from,  // [E, N, K]
                                            int n, int k) {
  const __nv_bfloat16* expert = from + static_cast<size_t>(blockIdx.z) * n * k;
  const int first_row = blockIdx.y * kTileRows;
  write_tile(
      out + weight_tile_start(blockIdx.z, blockIdx.y, blockIdx.x, gridDim.y, gridDim.x),
      [=](int row) {
        const int at = first_row + row;
        return at < n ? expert + static_cast<size_t>(at) * k : nullptr;
      },
      blockIdx.x * kTileK, k);
}

extern "C" __global__ void tile_gate_up_bf16(__nv_bfloat16* out,  // tiled [E][n_tiles][k_tiles]
                                             const __nv_bfloat16* gate,  // [E, I, D]
                                             const __nv_bfloat16* up,    // [E, I, D]
                                             long long expert_stride,    // between experts of each
                                             int intermediate, int hidden) {
  const size_t expert = static_cast<size_t>(blockIdx.z) * expert_stride;
  const int first = blockIdx.y * (kTileRows / 2);
  write_tile(
      out + weight_tile_start(blockIdx.z, blockIdx.y, blockIdx.x, gridDim.y, gridDim.x),
      [=](int row) {
        const int at = first + row / 16 * 8 + row % 8;
        const __nv_bfloat16* matrix = (row % 16 < 8 ? gate : up) + expert;
        return at < intermediate ? matrix + static_cast<size_t>(at) * hidden : nullptr;
      },
      blockIdx.x * kTileK, hidden);
}
