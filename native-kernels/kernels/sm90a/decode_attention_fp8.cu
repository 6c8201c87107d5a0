// Attention of a decode step over an FP8 cache (kv_codes.cuh): kernels/decode_attention.cu with codes
// and their scales in place of bf16; head dimension 128. 4 KB a warp in flight.

#include "decode_attention.cuh"

extern "C" __global__ void __launch_bounds__(kAttentionThreads, 4)
    decode_attention_fp8_d128(__nv_bfloat16* out, float* partials, int* counters,
                              const __nv_bfloat16* queries, const char* keys, const char* values,
                              const float* key_scales, const float* value_scales,
                              const int* context_lens, const int* slots, const int* block_tables,
                              float scale, int max_blocks, int query_stride, int heads,
                              int kv_heads, int block_size, int window, int min_run,
                              int tile_rows) {
  attention<128, Fp8Group<128>>(out, partials, counters, queries,
                                {keys, values, key_scales, value_scales}, context_lens, slots,
                                block_tables, max_blocks, query_stride, heads, kv_heads,
                                block_size, window, min_run, scale, tile_rows);
}
