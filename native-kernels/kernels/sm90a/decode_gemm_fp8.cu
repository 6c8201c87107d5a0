// The projections and expert GEMMs of a decode step of 9 to 256 tokens with FP8 weights and bf16
// activations: decode_gemm.cu with a format more, fp8 or mxfp8 (fp8_codes.cuh). Codes become bf16 in
// registers, from where they are wgmma's A; no activation is rounded to less than bf16.
//
// A weight tile is 128 columns, so k_tiles = ceil(K / 128) and steps count such tiles; token_tiles =
// K / 64 are those of the tokens. Tokens beyond 128 of an expert, or of a projection, are a product
// of their own. Launch as decode_gemm.cu, but for blocks of 384 threads; a stage is 17 KB + n * 256 bytes.

#include "decode_gemm.cuh"

#define GREGALE_DECODE_GEMM(format, kMx)                                                          \
  extern "C" __global__ void __launch_bounds__(kFp8GemmThreads, 1) decode_gemm_parts_##format(       \
      float* parts, const char* weights, const char* scales, const __nv_bfloat16* tokens,         \
      const GroupPlan* plan, int experts, int rows, int valid_rows, int n_tiles, int k_tiles,     \
      int token_tiles, int steps, int part_rows, int width, int shared_bytes) {                   \
    decode_gemm<GemmFp8<kMx>>(                                                                    \
        GemmArguments{weights, tokens, plan, experts, rows, valid_rows, n_tiles, k_tiles, steps,  \
                      shared_bytes, scales, token_tiles},                                         \
        StoreParts{parts, part_rows, width});                                                     \
  }                                                                                               \
  extern "C" __global__ void __launch_bounds__(kFp8GemmThreads, 1) decode_gemm_swiglu_##format(      \
      __nv_bfloat16* h, const char* weights, const char* scales, const __nv_bfloat16* tokens,     \
      const GroupPlan* plan, int experts, int n_tiles, int k_tiles, int token_tiles,              \
      int shared_bytes) {                                                                         \
    decode_gemm<GemmFp8<kMx>>(                                                                    \
        GemmArguments{weights, tokens, plan, experts, 0, 0, n_tiles, k_tiles, k_tiles,            \
                      shared_bytes, scales, token_tiles},                                         \
        StoreSwiglu{h, n_tiles, 0});                                                              \
  }

GREGALE_DECODE_GEMM(fp8, false)
GREGALE_DECODE_GEMM(mxfp8, true)
