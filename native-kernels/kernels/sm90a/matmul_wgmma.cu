// Projections on Hopper (Kernels.matmul for QKV, output and lm_head): out = x W^T, the grouped GEMM
// with one group. x is row-major, so two kernels: tile_rows_bf16, then one of the GEMMs.
//
//   tile_rows_bf16       x [rows, K] row-major to token tiles
//   matmul_wgmma_bf16    out in bf16
//   matmul_wgmma_f32     out in fp32 (logits)
//   matmul_wgmma_add_f32 Kernels.addMatmul: residual += x W^T (attention's output projection)
//
// Layouts: tiled_layout.cuh. rows and max_tile_rows (a multiple of 16, at most 256) are the same in
// both launches. Units of work are ceil(n_tiles / 2) * token tiles, for grid / 2 clusters: a
// launcher takes the max_tile_rows of 64, 80, ... 256 with the smallest rounds * (tile rows + 256),
// the larger where two are equal (choose_tile_rows of bench/prefill_kernels.cuh). The tiles take
// max_padded_rows(rows, 1, max_tile_rows) * 64 k_tiles elements.
//
// Launch of tile_rows_bf16: block 256; grid (ceil(padded / 8), ceil(k_tiles / 8)) with padded =
// max_padded_rows(rows, 1, max_tile_rows) (grouped_plan.cuh); no dynamic shared memory.
// Launch of the GEMMs: block 384; grid = multiprocessors rounded down to even; dynamic shared
// memory 229,504 bytes (CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES); clusters of 2 compiled
// in. n_tiles = ceil(N / 128), k_tiles = ceil(K / 64). Arguments in the order of the signatures
// below.

#include "gemm_epilogues.cuh"
#include "tile_rows.cuh"

extern "C" __global__ void tile_rows_bf16(__nv_bfloat16* tiles,    // tiled [rows, 64 ceil(K / 64)]
                                          const __nv_bfloat16* x,  // [rows, K]
                                          int rows, int k, int max_tile_rows) {
  const int row = blockIdx.x * kRowsPerBlock + tile_rows_row();
  const GroupPlan plan = plan_group(0, rows, max_tile_rows);
  if (row < plan.tiles * plan.tile_rows) {
    tile_row(tiles, row < rows ? x + static_cast<size_t>(row) * k : nullptr, row, plan, k);
  }
}

extern "C" __global__ void __cluster_dims__(kCluster, 1, 1) __launch_bounds__(kGemmThreads, 1)
    matmul_wgmma_bf16(__nv_bfloat16* out,            // [rows, width]
                      const char* weights,  // tiled [1][n_tiles][k_tiles]
                      const char* tiles,    // tiled [rows, 64 k_tiles]
                      int rows, int max_tile_rows, int n_tiles, int k_tiles,
                      int width) {  // N
  const GemmOperands op{weights, nullptr,       tiles,   nullptr, nullptr, 1,
                        rows,    max_tile_rows, n_tiles, k_tiles, k_tiles};
  grouped_gemm<GemmBf16>(op, RowsBf16{out, width});
}

extern "C" __global__ void __cluster_dims__(kCluster, 1, 1) __launch_bounds__(kGemmThreads, 1)
    matmul_wgmma_f32(float* out,                    // [rows, width]
                     const char* weights,  // as above
                     const char* tiles, int rows, int max_tile_rows, int n_tiles,
                     int k_tiles, int width) {
  const GemmOperands op{weights, nullptr,       tiles,   nullptr, nullptr, 1,
                        rows,    max_tile_rows, n_tiles, k_tiles, k_tiles};
  grouped_gemm<GemmBf16>(op, RowsF32{out, width});
}

extern "C" __global__ void __cluster_dims__(kCluster, 1, 1) __launch_bounds__(kGemmThreads, 1)
    matmul_wgmma_add_f32(float* residual,      // [rows, width], the product is added to it
                         const char* weights,  // as above
                         const char* tiles, int rows, int max_tile_rows, int n_tiles,
                         int k_tiles, int width) {
  const GemmOperands op{weights, nullptr,       tiles,   nullptr, nullptr, 1,
                        rows,    max_tile_rows, n_tiles, k_tiles, k_tiles};
  grouped_gemm<GemmBf16>(op, AddRowsF32{residual, width});
}
