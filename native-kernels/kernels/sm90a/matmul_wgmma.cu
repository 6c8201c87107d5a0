// Projections on Hopper (Kernels.matmul for QKV, output and lm_head): out = x W^T, the grouped GEMM
// with one group. x is row-major, so two kernels: tile_rows_bf16, then one of the GEMMs.
//
//   tile_rows_bf16           x [rows, K] row-major to token tiles
//   matmul_wgmma_bf16        rows of bf16
//   matmul_wgmma_f32         rows of fp32 (logits)
//   matmul_wgmma_few_bf16, matmul_wgmma_few_f32   token tiles of at most 64 rows, no clusters
//
// Layouts: tiled_layout.cuh. `rows` is the same in both launches, max_tile_rows 256 (64 for the few
// variants). The tiles take (rows + 15 (rows / max_tile_rows + 1)) * 64 ceil(K / 64) elements.
//
// Launch of tile_rows_bf16: block 256; grid (ceil(rows_padded / 8), ceil(k_tiles / 8)) where
// rows_padded is at least the padded rows (max_padded_rows(rows, 1, max_tile_rows)); no dynamic
// shared memory. Arguments: (tiles pointer, x pointer, int rows, int k, int max_tile_rows).
// Launch of the GEMMs: block 384, grid = multiprocessors rounded down to even, dynamic shared memory
// 229,440 bytes (few: 229,504), clusters of 2 compiled in (few: none). Arguments: (out pointer,
// weights pointer, tiles pointer, int rows, int n_tiles, int k_tiles, int width).

#include "gemm_epilogues.cuh"
#include "tile_rows.cuh"

namespace {

using Many = GemmShape<2, 4, 256>;
using Few = GemmShape<1, 8, 64>;

template <class Shape, class Epilogue>
__device__ __forceinline__ void matmul(const Epilogue& epilogue, const __nv_bfloat16* weights,
                                       const __nv_bfloat16* tokens, int rows, int n_tiles,
                                       int k_tiles) {
  const GemmOperands op{weights, tokens, nullptr, 1, rows, n_tiles, k_tiles};
  grouped_gemm<Shape>(op, epilogue);
}

}  // namespace

extern "C" __global__ void tile_rows_bf16(__nv_bfloat16* tiles,    // tiled [rows, 64 ceil(K / 64)]
                                          const __nv_bfloat16* x,  // [rows, K]
                                          int rows, int k, int max_tile_rows) {
  const int row = blockIdx.x * kRowsPerBlock + tile_rows_row();
  const GroupPlan plan = plan_group(0, rows, max_tile_rows);
  if (row >= plan.tiles * plan.tile_rows) {
    return;
  }
  tile_row(tiles, row < rows ? x + static_cast<size_t>(row) * k : nullptr, row, plan, k);
}

extern "C" __global__ void __cluster_dims__(2, 1, 1) __launch_bounds__(kGemmThreads, 1)
    matmul_wgmma_bf16(__nv_bfloat16* out,            // [rows, width]
                      const __nv_bfloat16* weights,  // tiled [1][n_tiles][k_tiles]
                      const __nv_bfloat16* tiles,    // tiled [rows, 64 k_tiles]
                      int rows, int n_tiles, int k_tiles,
                      int width) {  // N
  matmul<Many>(RowsBf16{out, width}, weights, tiles, rows, n_tiles, k_tiles);
}

extern "C" __global__ void __cluster_dims__(2, 1, 1) __launch_bounds__(kGemmThreads, 1)
    matmul_wgmma_f32(float* out, const __nv_bfloat16* weights, const __nv_bfloat16* tiles, int rows,
                     int n_tiles, int k_tiles, int width) {
  matmul<Many>(RowsF32{out, width}, weights, tiles, rows, n_tiles, k_tiles);
}

extern "C" __global__ void __launch_bounds__(kGemmThreads, 1)
    matmul_wgmma_few_bf16(__nv_bfloat16* out, const __nv_bfloat16* weights,
                          const __nv_bfloat16* tiles, int rows, int n_tiles, int k_tiles,
                          int width) {
  matmul<Few>(RowsBf16{out, width}, weights, tiles, rows, n_tiles, k_tiles);
}

extern "C" __global__ void __launch_bounds__(kGemmThreads, 1)
    matmul_wgmma_few_f32(float* out, const __nv_bfloat16* weights, const __nv_bfloat16* tiles,
                         int rows, int n_tiles, int k_tiles, int width) {
  matmul<Few>(RowsF32{out, width}, weights, tiles, rows, n_tiles, k_tiles);
}
