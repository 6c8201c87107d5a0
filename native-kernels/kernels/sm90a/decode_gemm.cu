// The projections and expert GEMMs of a decode step of 9 to 256 tokens on Hopper: weights are read
// once, at memory speed, and are wgmma's A; the tokens of an expert (all tokens, for a projection)
// are B, n = 16 ... 256 of them, chosen on the device.
//
//   decode_gemm_parts_bf16   part[p][row] = sums of W[e] x[row] over the p-th piece of K, fp32
//   decode_gemm_swiglu_bf16  h = silu(x gate^T) * (x up^T), token tiles to token tiles
//
// Who adds the parts: decode_rows.cu, in ascending order. With one piece (steps = k_tiles) part 0
// is the result (lm_head).
//
// Work is a line of 128 x 64 weight tiles, [chosen expert][n_tile][k_tile]; a block takes `steps`
// of them at a time, blocks in turn. steps need not divide k_tiles for a projection: 24 of 64 cut
// the 48 n_tiles of QKV in 128 even pieces. Piece c of the line holds part c - n_tile k_tiles /
// steps of n_tile. For several experts steps must divide k_tiles. A result's order of summation
// depends on the weight's shape and `steps` only: the same row gives the same bits in every batch.
//
// Layouts: tiled_layout.cuh. Tokens of an expert are one token tile of plan[e].tile_rows rows
// (grouped_plan.cuh with at most 256 rows an expert), of a projection one of `rows` rows, a
// multiple of 16. Rows beyond the valid ones may hold anything: their products are not stored
// (parts) or are again rows that nobody reads (h). width is a multiple of 16.
//
// Launch: block 288 (two warpgroups multiply, a warp copies); grid = multiprocessors (any number);
// dynamic shared memory `shared_bytes`, which is also an argument: 2,048 bytes, 16 KB + n * 128
// bytes a stage, n the widest tile there is, of which at least 3 and at most 8 stages are used, and
// for swiglu n * 128 bytes more. bench/decode_layer.cuh's gemm_shared gives eight stages up to n =
// 64 and is enough for every n; more brought nothing. sm_90a. Programmatic dependent launch is
// optional; a projection reads its first weights before the wait.

#include "decode_gemm.cuh"

extern "C" __global__ void __launch_bounds__(kGemmThreads, 1)
    decode_gemm_parts_bf16(float* parts,                  // [parts, part_rows, width]
                           const char* weights,           // tiled [E][n_tiles][k_tiles]
                           const __nv_bfloat16* tokens,   // token tiles
                           const GroupPlan* plan,         // [E]; null: a projection
                           int experts, int rows, int valid_rows, int n_tiles, int k_tiles,
                           int steps, int part_rows, int width, int shared_bytes) {
  decode_gemm<GemmBf16>(GemmArguments{weights, tokens, plan, experts, rows, valid_rows, n_tiles,
                                      k_tiles, steps, shared_bytes, nullptr, k_tiles},
              StoreParts{parts, part_rows, width});
}

extern "C" __global__ void __launch_bounds__(kGemmThreads, 1)
    decode_gemm_swiglu_bf16(__nv_bfloat16* h,              // token tiles [padded rows, 64 n_tiles]
                            const char* weights,           // tiled [E][n_tiles][k_tiles]
                            const __nv_bfloat16* tokens,   // token tiles [padded rows, 64 k_tiles]
                            const GroupPlan* plan,         // [E]
                            int experts, int n_tiles, int k_tiles, int shared_bytes) {
  decode_gemm<GemmBf16>(GemmArguments{weights, tokens, plan, experts, 0, 0, n_tiles, k_tiles,
                                      k_tiles, shared_bytes, nullptr, k_tiles},
      StoreSwiglu{h, n_tiles, 0});
}
