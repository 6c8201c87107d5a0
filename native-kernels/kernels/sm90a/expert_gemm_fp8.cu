// The experts' two GEMMs of expert_gemm.cu with FP8 weights (fp8_codes.cuh, gemm_formats.cuh):
//
//   expert_gate_up_fp8_rows, expert_down_fp8_rows      tokens in E4M3 with a scale of each row
//   expert_gate_up_fp8_blocks, expert_down_fp8_blocks  with a scale of every 128 columns of a row
//   expert_gate_up_fp8_bf16, expert_down_fp8_bf16      tokens in bf16
//   expert_gate_up_mxfp8_bf16, expert_down_mxfp8_bf16  the same, weights in MXFP8
//
// Launch, grid and shared memory as expert_gemm.cu. Plans are made with max_tile_rows 256 (rows), 224
// (blocks) and 128 (bf16). k_tiles are the weights', of 128
// columns, and token_tiles the tokens': the same for FP8 tokens, of 64 columns for bf16. hidden is
// written in bf16 tiles by all; quantize_tiles_fp8 (quantize_rows.cu) makes FP8 tokens of it. Rows of
// down are fp32, but bf16 where tokens are codes: codes are wrong by 2^-4, rows by 2^-9, and half the
// bytes are 3 to 5% of the layer.

#include "gemm_epilogues.cuh"
#include "gemm_formats.cuh"

#define GREGALE_EXPERT_GEMM(format, Format, Row, Rows)                                           \
  extern "C" __global__ void __cluster_dims__(kCluster, 1, 1)                                    \
      __launch_bounds__(kGemmThreads, 1) expert_gate_up_##format(                                \
          __nv_bfloat16* hidden, const char* weights, const char* scales, const char* tokens,    \
          const float* token_scales, const GroupPlan* plan, int experts, int n_tiles,            \
          int k_tiles, int token_tiles) {                                                        \
    const GemmOperands op{weights, scales, tokens,  token_scales, plan,       experts,           \
                          0,       0,      n_tiles, k_tiles,      token_tiles};                  \
    grouped_gemm<Format>(op, SwigluToTiles{hidden, n_tiles});                                    \
  }                                                                                              \
  extern "C" __global__ void __cluster_dims__(kCluster, 1, 1)                                    \
      __launch_bounds__(kGemmThreads, 1) expert_down_##format(                                   \
          Row* out, const char* weights, const char* scales, const char* hidden,                 \
          const float* hidden_scales, const GroupPlan* plan, int experts, int n_tiles,           \
          int k_tiles, int token_tiles, int width) {                                             \
    const GemmOperands op{weights, scales, hidden,  hidden_scales, plan,       experts,          \
                          0,       0,      n_tiles, k_tiles,       token_tiles};                 \
    grouped_gemm<Format>(op, Rows{out, width});                                                  \
  }

GREGALE_EXPERT_GEMM(fp8_rows, GemmFp8<false>, __nv_bfloat16, RowsBf16)
GREGALE_EXPERT_GEMM(fp8_blocks, GemmFp8<true>, __nv_bfloat16, RowsBf16)
GREGALE_EXPERT_GEMM(fp8_bf16, GemmCodes<false>, float, RowsF32)
GREGALE_EXPERT_GEMM(mxfp8_bf16, GemmCodes<true>, float, RowsF32)
