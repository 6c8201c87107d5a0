// The GEMMs of a decode step of 9 to 256 tokens in clusters of two (decode_gemm.cuh), which decode_bench
// takes when told `pairs`: the experts', where steps = k_tiles and n_tiles is even. Arguments and launch
// as kernels/sm90a/decode_gemm.cu and decode_gemm_fp8.cu, the grid an even number.

#include "decode_gemm.cuh"

extern "C" __global__ void __cluster_dims__(2, 1, 1) __launch_bounds__(kGemmThreads, 1)
    try_gemm_parts_bf16_pairs(float* parts, const char* weights, const __nv_bfloat16* tokens,
                              const GroupPlan* plan, int experts, int rows, int valid_rows,
                              int n_tiles, int k_tiles, int steps, int part_rows, int width,
                              int shared_bytes) {
  decode_gemm<InPairs<GemmBf16>>(
      GemmArguments{weights, tokens, plan, experts, rows, valid_rows, n_tiles, k_tiles, steps,
                    shared_bytes, nullptr, k_tiles},
      StoreParts{parts, part_rows, width});
}

extern "C" __global__ void __cluster_dims__(2, 1, 1) __launch_bounds__(kGemmThreads, 1)
    try_gemm_swiglu_bf16_pairs(__nv_bfloat16* h, const char* weights, const __nv_bfloat16* tokens,
                               const GroupPlan* plan, int experts, int n_tiles, int k_tiles,
                               int shared_bytes) {
  decode_gemm<InPairs<GemmBf16>>(
      GemmArguments{weights, tokens, plan, experts, 0, 0, n_tiles, k_tiles, k_tiles, shared_bytes,
                    nullptr, k_tiles},
      StoreSwiglu{h, n_tiles, 0});
}

extern "C" __global__ void __cluster_dims__(2, 1, 1) __launch_bounds__(kFp8GemmThreads, 1)
    try_gemm_parts_fp8_pairs(float* parts, const char* weights, const char* scales,
                             const __nv_bfloat16* tokens, const GroupPlan* plan, int experts,
                             int rows, int valid_rows, int n_tiles, int k_tiles, int token_tiles,
                             int steps, int part_rows, int width, int shared_bytes) {
  decode_gemm<InPairs<GemmFp8<false>>>(
      GemmArguments{weights, tokens, plan, experts, rows, valid_rows, n_tiles, k_tiles, steps,
                    shared_bytes, scales, token_tiles},
      StoreParts{parts, part_rows, width});
}

extern "C" __global__ void __cluster_dims__(2, 1, 1) __launch_bounds__(kFp8GemmThreads, 1)
    try_gemm_swiglu_fp8_pairs(__nv_bfloat16* h, const char* weights, const char* scales,
                              const __nv_bfloat16* tokens, const GroupPlan* plan, int experts,
                              int n_tiles, int k_tiles, int token_tiles, int shared_bytes) {
  decode_gemm<InPairs<GemmFp8<false>>>(
      GemmArguments{weights, tokens, plan, experts, 0, 0, n_tiles, k_tiles, k_tiles, shared_bytes,
                    scales, token_tiles},
      StoreSwiglu{h, n_tiles, 0});
}
