// FP8 weights into tiles (fp8_codes.cuh), at load: row-major codes in, tiles out, zeros in every padding
// row and column; and their scales into the tiles' order.
//
//   tile_codes_fp8          [E, N, K] (E = 1 for a projection)
//   tile_gate_up_codes_fp8  gate [E, I, D] and up [E, I, D], rows interleaved in groups of eight
//   tile_scales_fp8         fp32 scales of blocks to [tile][16]
//   tile_exponents_mxfp8    E8M0 exponents of 32 columns to [tile][128 rows][4]
//
// Launch: block 256; grid (k_tiles, n_tiles, E) with k_tiles = ceil(K / 128) and n_tiles = ceil(N /
// 128) or, for gate and up, ceil(I / 64). K is a multiple of 32. Scales come as a grid of rows of
// `columns` values: row r of the tensor (of all experts, gate rows of an expert before its up rows)
// has those of grid row grid_rows[r]. intermediate is 0 for all but gate and up.

#include "fp8_codes.cuh"

namespace {

// One tile: row r of it comes from source(r), null for padding. A thread takes a word of four codes.
template <class Source>
__device__ __forceinline__ void write_codes(char* tile, const Source& source, int first_k,
                                            int width) {
  for (int at = threadIdx.x; at < kTileBytes / 4; at += blockDim.x) {
    const int row = at / (kRowBytes / 4);
    const int word = at % (kRowBytes / 4);  // columns 2 c, 2 c + 8, 2 c + 1, 2 c + 9 of a step
    const int chunk = word / 4;
    const int first = chunk / 4 * 64 + word % 4 * 16 + chunk % 4 * 2;
    const char* from = source(row);
    uint32_t codes = 0;
#pragma unroll
    for (int i = 0; i < 4; i++) {
      const int k = first + i / 2 + i % 2 * 8;
      if (from != nullptr && first_k + k < width) {
        codes |= static_cast<uint32_t>(static_cast<uint8_t>(from[first_k + k])) << (8 * i);
      }
    }
    *reinterpret_cast<uint32_t*>(tile + swizzled_bytes(row, chunk) + word % 4 * 4) = codes;
  }
}

__device__ __forceinline__ size_t block_tile() {
  return (static_cast<size_t>(blockIdx.z) * gridDim.y + blockIdx.y) * gridDim.x + blockIdx.x;
}

// Row of the tensor that is row `row` of this block's tile, or -1 for padding. n: rows of an expert.
__device__ __forceinline__ int tensor_row(int row, int n, int intermediate) {
  if (intermediate == 0) {
    const int at = blockIdx.y * kTileRows + row;
    return at < n ? static_cast<int>(blockIdx.z) * n + at : -1;
  }
  const int at = blockIdx.y * (kTileRows / 2) + row / 16 * 8 + row % 8;
  return at < intermediate ? static_cast<int>(blockIdx.z) * n + row % 16 / 8 * intermediate + at : -1;
}

}  // namespace

extern "C" __global__ void tile_codes_fp8(char* out, const char* from, int n, int k) {
  const char* expert = from + static_cast<size_t>(blockIdx.z) * n * k;
  const int first_row = blockIdx.y * kTileRows;
  write_codes(
      out + block_tile() * kTileBytes,
      [=](int row) {
        const int at = first_row + row;
        return at < n ? expert + static_cast<size_t>(at) * k : nullptr;
      },
      blockIdx.x * kCodeColumns, k);
}

extern "C" __global__ void tile_gate_up_codes_fp8(char* out, const char* gate, const char* up,
                                                  long long expert_stride,  // codes
                                                  int intermediate, int hidden) {
  const size_t expert = static_cast<size_t>(blockIdx.z) * expert_stride;
  const int first = blockIdx.y * (kTileRows / 2);
  write_codes(
      out + block_tile() * kTileBytes,
      [=](int row) {
        const int at = first + row / 16 * 8 + row % 8;
        const char* matrix = (row % 16 < 8 ? gate : up) + expert;
        return at < intermediate ? matrix + static_cast<size_t>(at) * hidden : nullptr;
      },
      blockIdx.x * kCodeColumns, hidden);
}

// block_columns: of a scale, a multiple of 128, or anything from K on.
extern "C" __global__ void tile_scales_fp8(float* out,             // [tile][16]
                                           const float* scales,    // [grid rows, columns]
                                           const int* grid_rows,   // [E n]
                                           int n, int intermediate, int columns,
                                           int block_columns) {
  if (threadIdx.x >= kTileScales) {
    return;
  }
  const int row = tensor_row(threadIdx.x * kScaleRows, n, intermediate);
  const int column = blockIdx.x * kCodeColumns / block_columns;
  out[block_tile() * kTileScales + threadIdx.x] =
      row < 0 ? 0.0f : scales[static_cast<size_t>(grid_rows[row]) * columns + column];
}

extern "C" __global__ void tile_exponents_mxfp8(uint8_t* out,             // [tile][128][4]
                                                const uint8_t* exponents,  // [grid rows, columns]
                                                const int* grid_rows,      // [E n]
                                                int n, int intermediate, int columns) {
  for (int at = threadIdx.x; at < kMxTileBytes; at += blockDim.x) {
    const int row = tensor_row(at / 4, n, intermediate);
    const int column = blockIdx.x * (kCodeColumns / kMxColumns) + at % 4;
    out[block_tile() * kMxTileBytes + at] =
        row < 0 || column >= columns
            ? 127
            : exponents[static_cast<size_t>(grid_rows[row]) * columns + column];
  }
}
