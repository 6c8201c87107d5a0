// Attention of a decode step: one query token per sequence over its paged keys and values.
//
//   decode_attention_bf16_d128, _d64   Kernels.pagedAttention for batches of single tokens
//
// Legend: T tokens = sequences, H query heads, G KV heads, d head dim, S splits.
// out[t, h] = softmax(q k / sqrt(d)) v over positions max(0, len - window) to len - 1 of sequence t
// (window 0: all), len = context_lens[t], this step's token included. Cache: kv_layout.cuh.
//
// Grid (S, G, T), block 128, no dynamic shared memory. Each block takes one run of a sequence's
// positions for the H / G query heads of one KV head, its four warps groups of 16 positions in
// turn. Fragments of mma.sync m16n8k16 come straight from device memory: a lane's 16-byte load of K
// is the B fragment of two products (queries are M: 8 of 16 rows), of V it is the A fragment of two
// after a byte shuffle between neighbouring tokens (head columns are M, queries N = 8), and the
// weights are then in the right lanes as they come. 8 KB a warp in flight, 12 warps a
// multiprocessor.
//
// A run is at least min_run positions (and 64) and as many as it takes for S runs to cover len,
// read on the device, so one graph serves all lengths; runs beyond len leave at once. If there are
// several, each leaves (m, l, o) in scratch and the last to arrive adds them in ascending order:
// the same batch gives the same bits, and a row's bits depend on its length, S, min_run and the
// window, not on its batch mates.
//
// Scratch: partials T G S (H / G) (d + 2) floats; counters T G int32, zero before the first launch,
// left zero by every launch. Restrictions, checked by the caller: H / G at most 8, block size a
// multiple of 16, d 128 or 64, 16-byte aligned pointers. Tokens with slot -1 are padding: their
// rows become zero. tile_rows > 0 writes out as the token tile of the GEMM that follows
// (tiled_layout.cuh, tile_rows >= T a multiple of 16), else as rows [T, H d].
//
// Programmatic dependent launch is optional: positions before this step's are read before the wait.

#include "decode_attention.cuh"

#define GREGALE_DECODE_ATTENTION(d)                                                               \
  extern "C" __global__ void __launch_bounds__(kAttentionThreads, kAttentionBlocks)               \
      decode_attention_bf16_d##d(__nv_bfloat16* out,           /* [T, H d] rows or token tile */  \
                                 float* partials,              /* scratch */                      \
                                 int* counters,                /* [T, G], zero */                 \
                                 const __nv_bfloat16* queries, /* [T, H d], query_stride a row */ \
                                 const __nv_bfloat16* keys,    /* cache */                        \
                                 const __nv_bfloat16* values,  /* cache */                        \
                                 const int* context_lens,      /* [T] */                          \
                                 const int* slots,             /* [T] */                          \
                                 const int* block_tables,      /* [T, max_blocks] */              \
                                 float scale,                  /* of scores: 1 / sqrt(d) */       \
                                 int max_blocks, int query_stride, int heads, int kv_heads,       \
                                 int block_size, int window, int min_run, int tile_rows) {        \
    attention<d, Bf16Group<d>>(                                                                   \
        out, partials, counters, queries,                                                         \
        {reinterpret_cast<const char*>(keys), reinterpret_cast<const char*>(values)},             \
        context_lens, slots, block_tables, max_blocks, query_stride, heads, kv_heads, block_size, \
        window, min_run, scale, tile_rows);                                                       \
  }

GREGALE_DECODE_ATTENTION(128)
GREGALE_DECODE_ATTENTION(64)
