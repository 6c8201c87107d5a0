// The projections and expert GEMMs of a decode step of 9 to 256 tokens with FP8 weights and bf16
// activations: decode_gemm.cu with a format more, fp8 or mxfp8 (fp8_codes.cuh). Codes become bf16 in
// registers, from where they are wgmma's A; no activation is rounded to less than bf16.
//
// A weight tile is 128 columns, so k_tiles = ceil(K / 128) and steps count such tiles; token_tiles =
// K / 64 are those of the tokens. Tokens beyond 128 of an expert, or of a projection, are a product
// of their own. Launch as decode_gemm.cu, but for blocks of 384 threads (half: 192); a stage is 17 KB
// (half: 9 KB) + n * 256 bytes.

#include "decode_gemm.cuh"

#define GREGALE_DECODE_GEMM(name, Format, kThreads)                                               \
  extern "C" __global__ void __launch_bounds__(kThreads, 1) decode_gemm_parts_##name(             \
      float* parts, const char* weights, const char* scales, const __nv_bfloat16* tokens,         \
      const GroupPlan* plan, int experts, int rows, int valid_rows, int n_tiles, int k_tiles,     \
      int token_tiles, int steps, int part_rows, int width, int shared_bytes) {                   \
    decode_gemm<Format>(                                                                          \
        GemmArguments{weights, tokens, plan, experts, rows, valid_rows,                           \
                      n_tiles * tile_units<Format>(), k_tiles, steps, shared_bytes, scales,       \
                      token_tiles},                                                               \
        StoreParts{parts, part_rows, width});                                                     \
  }                                                                                               \
  extern "C" __global__ void __launch_bounds__(kThreads, 1) decode_gemm_swiglu_##name(            \
      __nv_bfloat16* h, const char* weights, const char* scales, const __nv_bfloat16* tokens,     \
      const GroupPlan* plan, int experts, int n_tiles, int k_tiles, int token_tiles,              \
      int shared_bytes) {                                                                         \
    decode_gemm<Format>(                                                                          \
        GemmArguments{weights, tokens, plan, experts, 0, 0, n_tiles * tile_units<Format>(),       \
                      k_tiles, k_tiles, shared_bytes, scales, token_tiles},                       \
        StoreSwiglu{h, n_tiles, 0});                                                              \
  }

#define GREGALE_DECODE_GEMM_ADD(name, Format, kThreads)                                           \
  extern "C" __global__ void __launch_bounds__(kThreads, 1) decode_gemm_add_##name(               \
      float* residual, const char* weights, const char* scales, const __nv_bfloat16* tokens,      \
      int rows, int valid_rows, int n_tiles, int k_tiles, int token_tiles, int width,             \
      int shared_bytes) {                                                                         \
    decode_gemm<Format>(                                                                          \
        GemmArguments{weights, tokens, nullptr, 1, rows, valid_rows,                              \
                      n_tiles * tile_units<Format>(), k_tiles, k_tiles, shared_bytes, scales,     \
                      token_tiles},                                                               \
        AddRows{residual, valid_rows, width});                                                    \
  }

GREGALE_DECODE_GEMM(fp8, GemmFp8<false>, kFp8GemmThreads)
GREGALE_DECODE_GEMM(mxfp8, GemmFp8<true>, kFp8GemmThreads)
GREGALE_DECODE_GEMM(half_fp8, GemmFp8Half<false>, kHalfGemmThreads)
GREGALE_DECODE_GEMM(half_mxfp8, GemmFp8Half<true>, kHalfGemmThreads)
GREGALE_DECODE_GEMM_ADD(half_fp8, GemmFp8Half<false>, kHalfGemmThreads)
GREGALE_DECODE_GEMM_ADD(half_mxfp8, GemmFp8Half<true>, kHalfGemmThreads)
