// The experts of a decode step of at most 8 tokens, in two launches:
//
//   decode_gate_up_bf16  rmsNorm, matmul(router), routeTopK, then
//                        h[t, k] = w[t, k] * silu(gate n_t) * (up n_t) of t's k-th expert
//   decode_down_bf16     residual[t] += sum over k of down h[t, k]
//
// Legend: T tokens (1 to 8), D hidden, I intermediate padded to 64, E experts (at most 16), K
// experts per token (T K at most 32). Weights: tiled_layout.cuh, gate and up interleaved in groups
// of eight rows; the router is row-major. bf16 operands, fp32 accumulation, fp32 residual. Only
// experts that were chosen are read, each once for all tokens. Of several devices each may have
// whole experts: weights are then of own_experts ones from first_expert on, the others' pairs are
// skipped, routing and its ids stay those of all E. The routing weight is folded into h,
// so that down's accumulators run across experts. Each result has one order of summation (experts
// ascending, then K), whatever the batch: the same row gives the same bits in any batch of 1 to 8.
//
// Restrictions, checked by the caller: D a multiple of 64 (gate_up) and of 32 (down), pointers
// 16-byte aligned. Tokens with slot -1 are padding: they choose no expert (id -1, weight 0), so
// they cost no bandwidth, and their residual stays as it is.
//
// Launch: block 512; grid = multiprocessors (any number >= 1 is right; decode_down_bf16 has D / 32
// units); dynamic shared memory: decode_gate_up_bf16 T * (2 * D + 64) bytes, decode_down_bf16 0.
// Carve-out: see decode_linear.cu. With programmatic dependent launch decode_down_bf16 must
// directly follow decode_gate_up_bf16: it reads expert ids before its wait, which is sound because
// decode_gate_up_bf16 releases it only after they are written.

#include "decode_experts.cuh"

extern "C" __global__ void __launch_bounds__(kDecodeThreads, 1)
    decode_gate_up_bf16(__nv_bfloat16* h,             // [T, K, I]
                        int* expert_ids,              // [T, K]
                        float* expert_weights,        // [T, K]
                        const float* residual,        // [T, D]
                        const __nv_bfloat16* gain,    // [D]
                        const __nv_bfloat16* router,  // [E, D]
                        const char* weights,          // tiled [own_experts, 2 I, D]
                        const int* slots,             // [T]
                        float eps, int tokens, int hidden, int intermediate, int experts,
                        int per_token, int first_expert, int own_experts) {
  decode_gate_up(h, expert_ids, expert_weights, residual, gain, router, Bf16Weights{weights}, slots,
                 eps, tokens, hidden, intermediate, experts, per_token, first_expert, own_experts);
}

extern "C" __global__ void __launch_bounds__(kDecodeThreads, 1)
    decode_down_bf16(float* residual,         // [T, D]
                     const __nv_bfloat16* h,  // [T, K, I]
                     const int* expert_ids,   // [T, K]
                     const char* weights,     // tiled [own_experts, D, I]
                     int tokens, int hidden, int intermediate, int per_token, int first_expert,
                     int own_experts) {
  decode_down(residual, h, expert_ids, Bf16Weights{weights}, tokens, hidden, intermediate,
              per_token, first_expert, own_experts);
}
