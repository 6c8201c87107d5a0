// out = x * weight^T: [rows, N] from x [rows, K] and weight [N, K], bf16 with fp32 sums. Called by
// Kernels.matmul for every projection whose weight lies row-major.
//
//   matmul_bf16_m16   tiles of 16 rows x 64 columns: few rows, streams the weight
//   matmul_bf16_m64   64 x 64
//   matmul_bf16_m128  128 x 128: many rows
//
// Grid: (ceil(rows / BM), ceil(N / BN)): neighbours share a weight tile, so that a weight larger than
// L2 is read once however many rows there are. out is fp32 or bf16. Any N, K and rows; nothing beyond the
// rows is read or written. All three give a row the same bits (see tile_gemm.cuh).

#include "tile_gemm.cuh"

namespace {

__device__ __forceinline__ void store(void* out, bool out_is_f32, size_t row_start, int column,
                                      int width, float first, float second) {
  if (out_is_f32) {
    float* row = static_cast<float*>(out) + row_start;
    if (column < width) row[column] = first;
    if (column + 1 < width) row[column + 1] = second;
    return;
  }
  __nv_bfloat16* row = static_cast<__nv_bfloat16*>(out) + row_start;
  if (width % 2 == 0) {  // then every row starts 4-byte aligned
    if (column < width) *reinterpret_cast<uint32_t*>(row + column) = pack_bf16(first, second);
    return;
  }
  if (column < width) row[column] = __float2bfloat16(first);
  if (column + 1 < width) row[column + 1] = __float2bfloat16(second);
}

template <typename Shape>
__device__ __forceinline__ void matmul(void* out, bool out_is_f32, const __nv_bfloat16* x,
                                       const __nv_bfloat16* weight, int rows, int n, int k) {
  extern __shared__ __align__(128) unsigned char shared[];
  const int first_row = blockIdx.x * Shape::kBM;
  const int first_column = blockIdx.y * Shape::kBN;
  TileSums<Shape> sums;
  multiply_tile<Shape>(
      sums, shared, x, weight, k,
      [=](int row) {
        const int r = first_row + row;
        return r < rows ? x + static_cast<size_t>(r) * k : nullptr;
      },
      [=](int row) {
        const int r = first_column + row;
        return r < n ? weight + static_cast<size_t>(r) * k : nullptr;
      });
  for_each_pair(sums, [=](int row, int column, float first, float second) {
    const int r = first_row + row;
    if (r < rows) {
      store(out, out_is_f32, static_cast<size_t>(r) * n, first_column + column, n, first, second);
    }
  });
}

}  // namespace

extern "C" __global__ void __launch_bounds__(SmallTile::kThreads)
    matmul_bf16_m16(void* out, int out_is_f32, const __nv_bfloat16* x,
                    const __nv_bfloat16* weight, int rows, int n, int k) {
  matmul<SmallTile>(out, out_is_f32 != 0, x, weight, rows, n, k);
}

extern "C" __global__ void __launch_bounds__(MediumTile::kThreads)
    matmul_bf16_m64(void* out, int out_is_f32, const __nv_bfloat16* x,
                    const __nv_bfloat16* weight, int rows, int n, int k) {
  matmul<MediumTile>(out, out_is_f32 != 0, x, weight, rows, n, k);
}

extern "C" __global__ void __launch_bounds__(LargeTile::kThreads)
    matmul_bf16_m128(void* out, int out_is_f32, const __nv_bfloat16* x,
                     const __nv_bfloat16* weight, int rows, int n, int k) {
  matmul<LargeTile>(out, out_is_f32 != 0, x, weight, rows, n, k);
}
