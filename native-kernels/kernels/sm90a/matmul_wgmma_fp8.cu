// Projections on Hopper with FP8 weights: matmul_wgmma.cu's GEMMs in the formats of expert_gemm_fp8.cu,
// named alike. Tokens come from quantize_rows_fp8 (quantize_rows.cu) or, in bf16, from
// tile_rows_bf16; max_tile_rows is at most 256, 224 or 128 as there.

#include "gemm_epilogues.cuh"
#include "gemm_formats.cuh"

#define GREGALE_MATMUL(format, Format, out_type, Out, Rows)                                      \
  extern "C" __global__ void __cluster_dims__(kCluster, 1, 1)                                    \
      __launch_bounds__(kGemmThreads, 1) matmul_##format##_##out_type(                           \
          Out* out, const char* weights, const char* scales, const char* tiles,                  \
          const float* token_scales, int rows, int max_tile_rows, int n_tiles, int k_tiles,      \
          int token_tiles, int width) {                                                          \
    const GemmOperands op{weights, scales,        tiles,   token_scales, nullptr,    1,          \
                          rows,    max_tile_rows, n_tiles, k_tiles,      token_tiles};           \
    grouped_gemm<Format>(op, Rows{out, width});                                                  \
  }

#define GREGALE_MATMULS(format, Format)                         \
  GREGALE_MATMUL(format, Format, bf16, __nv_bfloat16, RowsBf16) \
  GREGALE_MATMUL(format, Format, f32, float, RowsF32)           \
  GREGALE_MATMUL(format, Format, add_f32, float, AddRowsF32)

GREGALE_MATMULS(fp8_rows, GemmFp8<false>)
GREGALE_MATMULS(fp8_blocks, GemmFp8<true>)
GREGALE_MATMULS(fp8_bf16, GemmCodes<false>)
GREGALE_MATMULS(mxfp8_bf16, GemmCodes<true>)
