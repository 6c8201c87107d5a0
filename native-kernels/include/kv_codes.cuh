// The paged KV cache in FP8: E4M3 codes of keys and of values, each with an fp32 scale of every token
// and KV head, value = code * scale, from the largest element of the d that they are (448 / largest,
// stored as its inverse). Four arrays of a layer:
//   codes  [block][kv head][token of the block][d rounded up to 16], one byte each
//   scales [block][kv head][token of the block]
// Zeroed when allocated.
#pragma once

#include "fp8_codes.cuh"

__host__ __device__ __forceinline__ int kv_code_width(int head_dim) {
  return ceil_div(head_dim, 16) * 16;
}
