// The experts of a decode step of at most 8 tokens with FP8 weights and bf16 activations:
// kernels/decode_experts.cu with a format more, fp8 or mxfp8 (fp8_codes.cuh), and the scales behind
// the weights; gate and up have their own. h stands in the order of the codes (code_token_order).
// Shared memory of decode_gate_up: T * (2 * D + 64) bytes, D rounded up to 128.

#include "decode_experts.cuh"

#define GREGALE_DECODE_EXPERTS(format, Weights)                                                   \
  extern "C" __global__ void __launch_bounds__(kDecodeThreads, 1) decode_gate_up_##format(        \
      __nv_bfloat16* h, int* expert_ids, float* expert_weights, const float* residual,            \
      const __nv_bfloat16* gain, const __nv_bfloat16* router, const char* weights,                \
      const char* scales, const int* slots, float eps, int tokens, int hidden, int intermediate,  \
      int experts, int per_token, int first_expert, int own_experts) {                            \
    decode_gate_up(h, expert_ids, expert_weights, residual, gain, router,                         \
                   Weights{weights, scales}, slots, eps, tokens, hidden, intermediate, experts,   \
                   per_token, first_expert, own_experts);                                         \
  }                                                                                               \
  extern "C" __global__ void __launch_bounds__(kDecodeThreads, 1) decode_down_##format(           \
      float* residual, const __nv_bfloat16* h, const int* expert_ids, const char* weights,        \
      const char* scales, int tokens, int hidden, int intermediate, int per_token,                \
      int first_expert, int own_experts) {                                                        \
    decode_down(residual, h, expert_ids, Weights{weights, scales}, tokens, hidden, intermediate,  \
                per_token, first_expert, own_experts);                                            \
  }

GREGALE_DECODE_EXPERTS(fp8, Fp8Weights<false>)
GREGALE_DECODE_EXPERTS(mxfp8, Fp8Weights<true>)
