// The experts' two GEMMs on Hopper (part of Kernels.expertFeedForward), grouped over experts, after
// expert_plan_i32 and expert_gather_bf16 (expert_routing.cu):
//
//   expert_gate_up_bf16   hidden = silu(x gate^T) * (x up^T), tiled to tiled
//   expert_down_bf16      out[padded row] = hidden down^T, tiled to rows [padded rows, D]
//   *_few_bf16            the same without clusters and with token tiles of at most 64 rows and 8
//                         stages: reads weights at memory speed when few rows share an expert
//
// Legend: T tokens, K experts per token, D hidden, I intermediate, E experts.
// Layouts: tiled_layout.cuh; the plan: grouped_plan.cuh. The plan must have been made with
// max_tile_rows 256 (64 for *_few_bf16), and x and hidden have room for
// max_padded_rows(T K, E, max_tile_rows) rows of 64 ceil(D / 64) and 64 ceil(I / 64) columns.
//
// Launch: block 384; grid = multiprocessors rounded down to a multiple of 2 (persistent; any even
// number is right; *_few_bf16 any number); dynamic shared memory 229,440 bytes
// (231,808 - 2,304 = see kShared below: 4 x 48 KB + 32 KB + 64 B; *_few_bf16: 8 x 24 KB + 32 KB +
// 128 B = 229,504), which needs CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES set once. Clusters
// of 2 are compiled in: plain cuLaunchKernel launches them.
// Arguments: (out pointer, weights pointer, tokens pointer, plan pointer, int experts, int n_tiles,
// int k_tiles [, int width]).
//
// Same inputs, same bits: every output is one accumulation along K in one order, so a row's result
// does not depend on its batch mates either.

#include "gemm_epilogues.cuh"

namespace {

using Many = GemmShape<2, 4, 256>;
using Few = GemmShape<1, 8, 64>;
static_assert(Many::kSharedBytes == 229440 && Few::kSharedBytes == 229504,
              "launchers use these sizes");

template <class Shape>
__device__ __forceinline__ void gate_up(__nv_bfloat16* hidden, const __nv_bfloat16* weights,
                                        const __nv_bfloat16* tokens, const GroupPlan* plan,
                                        int experts, int n_tiles, int k_tiles) {
  const GemmOperands op{weights, tokens, plan, experts, 0, n_tiles, k_tiles};
  grouped_gemm<Shape>(op, SwigluToTiles{hidden, n_tiles});
}

template <class Shape>
__device__ __forceinline__ void down(__nv_bfloat16* out, const __nv_bfloat16* weights,
                                     const __nv_bfloat16* hidden, const GroupPlan* plan,
                                     int experts, int n_tiles, int k_tiles, int width) {
  const GemmOperands op{weights, hidden, plan, experts, 0, n_tiles, k_tiles};
  grouped_gemm<Shape>(op, RowsBf16{out, width});
}

}  // namespace

extern "C" __global__ void __cluster_dims__(2, 1, 1) __launch_bounds__(kGemmThreads, 1)
    expert_gate_up_bf16(__nv_bfloat16* hidden,         // tiled [padded rows, 64 n_tiles]
                        const __nv_bfloat16* weights,  // tiled [E][n_tiles = ceil(I / 64)][k_tiles]
                        const __nv_bfloat16* tokens,   // tiled [padded rows, 64 k_tiles]
                        const GroupPlan* plan,         // [E + 1]
                        int experts, int n_tiles, int k_tiles) {
  gate_up<Many>(hidden, weights, tokens, plan, experts, n_tiles, k_tiles);
}

extern "C" __global__ void __cluster_dims__(2, 1, 1) __launch_bounds__(kGemmThreads, 1)
    expert_down_bf16(__nv_bfloat16* out,            // [padded rows, width]; padding is not written
                     const __nv_bfloat16* weights,  // tiled [E][n_tiles = ceil(D / 128)][k_tiles]
                     const __nv_bfloat16* hidden,   // tiled [padded rows, 64 k_tiles]
                     const GroupPlan* plan,         // [E + 1]
                     int experts, int n_tiles, int k_tiles,
                     int width) {  // D
  down<Many>(out, weights, hidden, plan, experts, n_tiles, k_tiles, width);
}

extern "C" __global__ void __launch_bounds__(kGemmThreads, 1)
    expert_gate_up_few_bf16(__nv_bfloat16* hidden, const __nv_bfloat16* weights,
                            const __nv_bfloat16* tokens, const GroupPlan* plan, int experts,
                            int n_tiles, int k_tiles) {
  gate_up<Few>(hidden, weights, tokens, plan, experts, n_tiles, k_tiles);
}

extern "C" __global__ void __launch_bounds__(kGemmThreads, 1)
    expert_down_few_bf16(__nv_bfloat16* out, const __nv_bfloat16* weights,
                         const __nv_bfloat16* hidden, const GroupPlan* plan, int experts,
                         int n_tiles, int k_tiles, int width) {
  down<Few>(out, weights, hidden, plan, experts, n_tiles, k_tiles, width);
}
