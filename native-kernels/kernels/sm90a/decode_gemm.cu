// The projections and expert GEMMs of a decode step of 9 to 256 tokens on Hopper: weights are read
// once, at memory speed, and are wgmma's A; the tokens of an expert (all tokens, for a projection)
// are B, n = 16 ... 256 of them, chosen on the device.
//
//   decode_gemm_parts_bf16   part[p][row] = sums of W[e] x[row] over the p-th piece of K, fp32
//   decode_gemm_swiglu_bf16  h = silu(x gate^T) * (x up^T), token tiles to token tiles
//   ..._half_bf16            the same by units of 64 weight rows: one warpgroup, twice as many units
//   decode_gemm_add_half_bf16  residual[row] += W x[row], K whole
//
// Who adds the parts: decode_rows.cu, in ascending order. With one piece (steps = k_tiles) part 0
// is the result (lm_head).
//
// Work is a line of 128 x 64 weight tiles, [chosen expert][n_tile][k_tile]; a block takes `steps`
// of them at a time, blocks in turn. steps need not divide k_tiles for a projection: 24 of 64 cut
// the 48 n_tiles of QKV in 128 even pieces. Piece c of the line holds part c - n_tile k_tiles /
// steps of n_tile. For several experts steps must divide k_tiles. A result's order of summation
// depends on the weight's shape and `steps` only: the same row gives the same bits in every batch,
// and with steps = k_tiles those of the GEMMs of prefill (grouped_gemm.cuh): both add the same
// products k16 by k16 in ascending order, in one accumulator that begins with 0, and neither the
// number of tokens nor the row's place among them is in it. Units of 64 rows give these bits as well;
// they serve where K stays whole, which leaves too few tiles for all multiprocessors.
//
// Layouts: tiled_layout.cuh. Tokens of an expert are one token tile of plan[e].tile_rows rows
// (grouped_plan.cuh with at most 256 rows an expert), of a projection one of `rows` rows, a
// multiple of 16. Rows beyond the valid ones may hold anything: their products are not stored
// (parts) or are again rows that nobody reads (h). width is a multiple of 16.
//
// Launch: block 320 (two warpgroups multiply, two warps copy), half 192; grid = multiprocessors (any number);
// dynamic shared memory `shared_bytes`, which is also an argument: 2,048 bytes, 16 KB + n * 128
// bytes a stage (half: 8 KB + n * 128), n the widest tile there is, of which at least 3 and at most 8
// (half: 16) stages are used, and for swiglu n * 128 bytes more. bench/decode_layer.cuh's gemm_shared gives eight stages up to n =
// 64 and is enough for every n; more brought nothing. sm_90a. Programmatic dependent launch is
// optional; parts read the plan and their first weights before the wait, so the plan must be older
// than the kernel directly before.

#include "decode_gemm.cuh"

#define GREGALE_DECODE_GEMM(name, Format, kThreads)                                                \
  extern "C" __global__ void __launch_bounds__(kThreads, 1) decode_gemm_parts_##name(              \
      float* parts,                 /* [parts, part_rows, width] */                                \
      const char* weights,          /* tiled [E][n_tiles][k_tiles] */                              \
      const __nv_bfloat16* tokens,  /* token tiles */                                              \
      const GroupPlan* plan,        /* [E]; null: a projection */                                  \
      int experts, int rows, int valid_rows, int n_tiles, int k_tiles, int steps, int part_rows,   \
      int width, int shared_bytes) {                                                               \
    decode_gemm<Format>(                                                                           \
        GemmArguments{weights, tokens, plan, experts, rows, valid_rows,                            \
                      n_tiles * tile_units<Format>(), k_tiles, steps, shared_bytes, nullptr,       \
                      k_tiles},                                                                    \
        StoreParts{parts, part_rows, width});                                                      \
  }                                                                                                \
  extern "C" __global__ void __launch_bounds__(kThreads, 1) decode_gemm_swiglu_##name(             \
      __nv_bfloat16* h,             /* token tiles [padded rows, 64 n_tiles] */                    \
      const char* weights,          /* tiled [E][n_tiles][k_tiles] */                              \
      const __nv_bfloat16* tokens,  /* token tiles [padded rows, 64 k_tiles] */                    \
      const GroupPlan* plan,        /* [E] */                                                      \
      int experts, int n_tiles, int k_tiles, int shared_bytes) {                                   \
    decode_gemm<Format>(                                                                           \
        GemmArguments{weights, tokens, plan, experts, 0, 0, n_tiles * tile_units<Format>(),        \
                      k_tiles, k_tiles, shared_bytes, nullptr, k_tiles},                           \
        StoreSwiglu{h, n_tiles, 0});                                                               \
  }

#define GREGALE_DECODE_GEMM_ADD(name, Format, kThreads)                                            \
  extern "C" __global__ void __launch_bounds__(kThreads, 1) decode_gemm_add_##name(                \
      float* residual,              /* [rows, width] */                                            \
      const char* weights,          /* tiled [n_tiles][k_tiles] */                                 \
      const __nv_bfloat16* tokens,  /* one token tile */                                           \
      int rows, int valid_rows, int n_tiles, int k_tiles, int width, int shared_bytes) {           \
    decode_gemm<Format>(                                                                           \
        GemmArguments{weights, tokens, nullptr, 1, rows, valid_rows,                               \
                      n_tiles * tile_units<Format>(), k_tiles, k_tiles, shared_bytes, nullptr,     \
                      k_tiles},                                                                    \
        AddRows{residual, valid_rows, width});                                                     \
  }

GREGALE_DECODE_GEMM(bf16, GemmBf16, kGemmThreads)
GREGALE_DECODE_GEMM(half_bf16, GemmBf16Half, kHalfGemmThreads)
GREGALE_DECODE_GEMM_ADD(half_bf16, GemmBf16Half, kHalfGemmThreads)
