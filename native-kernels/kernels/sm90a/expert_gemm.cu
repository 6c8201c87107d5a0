// The experts' two GEMMs on Hopper (part of Kernels.expertFeedForward), grouped over experts, after
// expert_plan_i32 and expert_gather_bf16 (expert_routing.cu):
//
//   expert_gate_up_bf16   hidden = silu(x gate^T) * (x up^T), tiled to tiled
//   expert_down_bf16      out[padded row] = hidden down^T, tiled to fp32 rows [padded rows, D]
//
// Legend: T tokens, K experts per token, D hidden, I intermediate, E experts.
// Layouts: tiled_layout.cuh; the plan: grouped_plan.cuh, made with max_tile_rows 256. tokens and
// hidden have room for max_padded_rows(T K, E, 256) rows of 64 ceil(D / 64) and 64 ceil(I / 64)
// columns, out for as many rows of D.
//
// Launch: block 384; grid = multiprocessors rounded down to even (persistent; any even number is
// right); dynamic shared memory 229,504 bytes, which needs
// CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES set once. Clusters of 2 are compiled in: plain
// cuLaunchKernel launches them. Arguments in the order of the signatures below.
//
// Same inputs, same bits: every output is one accumulation along K in one order, so a row's result
// does not depend on its batch mates either.

#include "gemm_epilogues.cuh"

extern "C" __global__ void __cluster_dims__(kCluster, 1, 1) __launch_bounds__(kGemmThreads, 1)
    expert_gate_up_bf16(__nv_bfloat16* hidden,         // tiled [padded rows, 64 n_tiles]
                        const char* weights,           // tiled [E][n_tiles = ceil(I / 64)][k_tiles]
                        const char* tokens,            // tiled [padded rows, 64 k_tiles]
                        const GroupPlan* plan, int experts, int n_tiles,
                        int k_tiles) {  // ceil(D / 64)
  const GemmOperands op{weights, nullptr, tokens, nullptr, plan,  experts,
                        0,       0,       n_tiles, k_tiles, k_tiles};
  grouped_gemm<GemmBf16>(op, SwigluToTiles{hidden, n_tiles});
}

extern "C" __global__ void __cluster_dims__(kCluster, 1, 1) __launch_bounds__(kGemmThreads, 1)
    expert_down_bf16(float* out,                    // [padded rows, width]; padding is not written
                     const char* weights,           // tiled [E][n_tiles = ceil(D / 128)][k_tiles]
                     const char* hidden,            // tiled [padded rows, 64 k_tiles]
                     const GroupPlan* plan, int experts, int n_tiles,
                     int k_tiles,  // ceil(I / 64)
                     int width) {  // D
  const GemmOperands op{weights, nullptr, hidden, nullptr, plan,  experts,
                        0,       0,       n_tiles, k_tiles, k_tiles};
  grouped_gemm<GemmBf16>(op, RowsF32{out, width});
}
