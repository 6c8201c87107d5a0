// The projections of a decode step of at most 8 tokens, each with what surrounds it in Mixtral:
//
//   decode_qkv_bf16_d128, _d64   rmsNorm, matmul(qkv), ropeAndCacheKv:
//                                queries = rope(Wq n), cache <- rope(Wk n), Wv n, n =
//                                norm(residual)
//   decode_add_linear_bf16       residual += W x (attention's output projection)
//   decode_lm_head_bf16          logits = W norm(residual) of the rows wanted
//
// Legend: T tokens (1 to 8), R rows of logits (1 to 8), D hidden, H query heads, G KV heads, d head
// dim, V vocabulary. Weights: tiled_layout.cuh, not permuted. Cache: kv_layout.cuh. bf16 operands,
// fp32 accumulation; residual and logits fp32. Each result has one order of summation, whatever T:
// the same row gives the same bits in every batch of 1 to 8.
//
// Restrictions, checked by the caller: D (and for decode_add_linear_bf16 the width of x) a multiple
// of 64, outputs a multiple of 16, d 128 or 64, all pointers 16-byte aligned. Tokens with
// slot -1 are padding: no cache is written, their queries and residuals are numbers nobody reads.
//
// Launch: block 512; grid = multiprocessors (any number >= 1 is right; fewer, with the same number
// of units for each block, was slower); dynamic shared memory T * (2 * width + 64) bytes, width = D
// or that of x (MAX_DYNAMIC_SHARED_SIZE_BYTES set once for 8 tokens). Give all decode kernels of
// this size and the attention one shared-memory carve-out, 57%: more starves the loads in flight,
// different ones make launches wait for each other. Programmatic dependent launch is optional:
// weights are read before the wait. Metadata (positions, slots, context_lens, block_tables,
// rope_table) must have been written before the kernel in front of this one started: launch the
// first kernel of a step without the attribute.

#include "decode_linear.cuh"

#define GREGALE_DECODE_QKV(d)                                                                      \
  extern "C" __global__ void __launch_bounds__(kDecodeThreads, 1)                                  \
      decode_qkv_bf16_d##d(__nv_bfloat16* queries, /* [T, H d] in rows of query_stride elements */ \
                           __nv_bfloat16* keys,    /* cache */                                     \
                           __nv_bfloat16* values,  /* cache */                                     \
                           const float* residual,  /* [T, D] */                                    \
                           const __nv_bfloat16* gain,    /* [D] */                                 \
                           const char* weights,          /* tiled [(H + 2G) d, D] */               \
                           const float* rope_table,      /* [positions, d] */                      \
                           const int* positions,         /* [T] */                                 \
                           const int* slots,             /* [T] */                                 \
                           float eps, int query_stride, int tokens, int hidden, int heads,         \
                           int kv_heads, int block_size) {                                         \
    decode_qkv<d>(queries, query_stride, keys, values, residual, gain, eps, Bf16Weights{weights},  \
                  rope_table, positions, slots, tokens, hidden, heads, kv_heads, block_size);      \
  }

GREGALE_DECODE_QKV(128)
GREGALE_DECODE_QKV(64)

extern "C" __global__ void __launch_bounds__(kDecodeThreads, 1)
    decode_add_linear_bf16(float* residual,         // [T, N]
                           const __nv_bfloat16* x,  // [T, M]
                           const char* weights,     // tiled [N, M]
                           int tokens, int n, int m) {
  decode_add_linear(residual, x, Bf16Weights{weights}, tokens, n, m);
}

extern "C" __global__ void __launch_bounds__(kDecodeThreads, 1)
    decode_lm_head_bf16(float* logits,              // [R, V]
                        const float* residual,      // [T, D]
                        const int* row_ids,         // [R] rows of residual; null: 0 to R - 1
                        const __nv_bfloat16* gain,  // [D]
                        const char* weights,        // tiled [V, D]
                        float eps, int rows, int hidden, int vocabulary) {
  decode_lm_head(logits, residual, row_ids, gain, Bf16Weights{weights}, eps, rows, hidden,
                 vocabulary);
}
