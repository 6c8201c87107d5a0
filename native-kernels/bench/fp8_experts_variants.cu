// Variants of the experts' GEMMs with E4M3 tokens, a scale of each row, that fp8_experts_bench.cu compares:
//
//   try_gate_up_{memory,registers}_{together,apart,codes}
//   try_down_{memory,registers}_{f32,bf16}
//
// memory, registers: where wgmma's A comes from (gemm_formats.cuh). together, apart: how the warpgroups
// share the staging buffer (gemm_epilogues.cuh); codes: apart, and rows are quantised in the same
// kernel (quantized_hidden.cuh). f32, bf16: the rows of down. expert_gemm_fp8.cu has memory, together, f32.

#include "gemm_formats.cuh"
#include "quantized_hidden.cuh"

#define GREGALE_TRY __global__ void __cluster_dims__(kCluster, 1, 1) __launch_bounds__(kGemmThreads, 1)
#define GREGALE_GATE_UP(name, registers, Epilogue)                                               \
  extern "C" GREGALE_TRY try_gate_up_##name(                                                     \
      __nv_bfloat16* hidden, const char* weights, const char* scales, const char* tokens,        \
      const float* token_scales, const GroupPlan* plan, int experts, int n_tiles, int k_tiles) { \
    const GemmOperands op{weights, scales, tokens,  token_scales, plan,    experts,              \
                          0,       0,      n_tiles, k_tiles,      k_tiles};                      \
    grouped_gemm<GemmFp8<false, registers>>(op, Epilogue{hidden, n_tiles});                      \
  }

#define GREGALE_GATE_UP_CODES(name, registers)                                                   \
  extern "C" GREGALE_TRY try_gate_up_##name(                                                     \
      __nv_bfloat16* hidden, char* codes, float* code_scales, int* work, const char* weights,    \
      const char* scales, const char* tokens, const float* token_scales, const GroupPlan* plan,  \
      int experts, int n_tiles, int k_tiles, int recipe, float static_scale,                     \
      unsigned long long* saturated) {                                                           \
    const GemmOperands op{weights, scales, tokens,  token_scales, plan,    experts,              \
                          0,       0,      n_tiles, k_tiles,      k_tiles};                      \
    grouped_gemm<GemmFp8<false, registers>>(                                                     \
        op, SwigluToCodes{{hidden, n_tiles},                                                     \
                          {codes, code_scales, ceil_div(n_tiles, 2), recipe, static_scale,       \
                           saturated},                                                           \
                          work,                                                                  \
                          work + experts});                                                      \
  }

#define GREGALE_DOWN(name, registers, Out, Rows)                                                 \
  extern "C" GREGALE_TRY try_down_##name(                                                        \
      Out* out, const char* weights, const char* scales, const char* hidden,                     \
      const float* hidden_scales, const GroupPlan* plan, int experts, int n_tiles, int k_tiles,  \
      int width) {                                                                               \
    const GemmOperands op{weights, scales, hidden,  hidden_scales, plan,    experts,             \
                          0,       0,      n_tiles, k_tiles,       k_tiles};                     \
    grouped_gemm<GemmFp8<false, registers>>(op, Rows{out, width});                               \
  }

GREGALE_GATE_UP(memory_together, false, SwigluToTiles<false>)
GREGALE_GATE_UP(memory_apart, false, SwigluToTiles<true>)
GREGALE_GATE_UP(registers_together, true, SwigluToTiles<false>)
GREGALE_GATE_UP(registers_apart, true, SwigluToTiles<true>)
GREGALE_GATE_UP_CODES(memory_codes, false)
GREGALE_GATE_UP_CODES(registers_codes, true)
GREGALE_DOWN(memory_f32, false, float, RowsF32)
GREGALE_DOWN(memory_bf16, false, __nv_bfloat16, RowsBf16)
GREGALE_DOWN(registers_f32, true, float, RowsF32)
GREGALE_DOWN(registers_bf16, true, __nv_bfloat16, RowsBf16)
