// The projections of a decode step of at most 8 tokens with FP8 weights and bf16 activations:
// kernels/decode_linear.cu with a format more, fp8 or mxfp8 (fp8_codes.cuh), and the scales behind
// the weights. Shared memory: T * (2 * width + 64) bytes, width rounded up to 128. lm_head is never
// quantised. Memory speed leaves the block's arithmetic two thirds idle: 9 instructions turn four
// codes into bf16, 34% of the issue slots at 3 TB/s.

#include "decode_linear.cuh"

#define GREGALE_DECODE_QKV(format, Weights, d)                                                  \
  extern "C" __global__ void __launch_bounds__(kDecodeThreads, 1) decode_qkv_##format##_d##d(   \
      __nv_bfloat16* queries, __nv_bfloat16* keys, __nv_bfloat16* values,                       \
      const float* residual, const __nv_bfloat16* gain, const char* weights, const char* scales,\
      const float* rope_table, const int* positions, const int* slots, float eps,               \
      int query_stride, int tokens, int hidden, int heads, int kv_heads, int block_size) {      \
    decode_qkv<d>(queries, query_stride, keys, values, residual, gain, eps,                     \
                  Weights{weights, scales}, rope_table, positions, slots, tokens, hidden, heads,\
                  kv_heads, block_size);                                                        \
  }

#define GREGALE_DECODE_LINEAR(format, Weights)                                                   \
  GREGALE_DECODE_QKV(format, Weights, 128)                                                       \
  GREGALE_DECODE_QKV(format, Weights, 64)                                                        \
  extern "C" __global__ void __launch_bounds__(kDecodeThreads, 1) decode_add_linear_##format(    \
      float* residual, const __nv_bfloat16* x, const char* weights, const char* scales,          \
      int tokens, int n, int m) {                                                                \
    decode_add_linear(residual, x, Weights{weights, scales}, tokens, n, m);                      \
  }

GREGALE_DECODE_LINEAR(fp8, Fp8Weights<false>)
GREGALE_DECODE_LINEAR(mxfp8, Fp8Weights<true>)
