// The exported decode kernels, as a launcher sees them; kernels/*.cu say what each argument is.
#pragma once

#include <cuda_bf16.h>

#include "fp8_codes.cuh"
#include "grouped_plan.cuh"

using Bf16 = __nv_bfloat16;

#define GREGALE_KERNEL extern "C" __global__ void

GREGALE_KERNEL decode_qkv_bf16_d128(Bf16*, Bf16*, Bf16*, const float*, const Bf16*, const char*,
                                    const float*, const int*, const int*, float, int, int, int, int,
                                    int, int);
GREGALE_KERNEL decode_qkv_bf16_d64(Bf16*, Bf16*, Bf16*, const float*, const Bf16*, const char*,
                                   const float*, const int*, const int*, float, int, int, int, int,
                                   int, int);
GREGALE_KERNEL decode_add_linear_bf16(float*, const Bf16*, const char*, int, int, int);
GREGALE_KERNEL decode_lm_head_bf16(float*, const float*, const int*, const Bf16*, const char*,
                                   float, int, int, int);
GREGALE_KERNEL decode_attention_bf16_d128(Bf16*, float*, int*, const Bf16*, const Bf16*,
                                          const Bf16*, const int*, const int*, const int*, float,
                                          int, int, int, int, int, int, int, int);
GREGALE_KERNEL decode_attention_bf16_d64(Bf16*, float*, int*, const Bf16*, const Bf16*, const Bf16*,
                                         const int*, const int*, const int*, float, int, int, int,
                                         int, int, int, int, int);
GREGALE_KERNEL decode_gate_up_bf16(Bf16*, int*, float*, const float*, const Bf16*, const Bf16*,
                                   const char*, const int*, float, int, int, int, int, int, int, int);
GREGALE_KERNEL decode_down_bf16(float*, const Bf16*, const int*, const char*, int, int, int, int, int,
                                int);
GREGALE_KERNEL decode_norm_tiles_bf16(Bf16*, const float*, const int*, const float*, float, int,
                                      int);
GREGALE_KERNEL decode_qkv_parts_bf16(Bf16*, Bf16*, Bf16*, const float*, const float*, const int*,
                                     const int*, int, int, int, int, int, int, int, int, int);
GREGALE_KERNEL decode_add_parts_f32(float*, const float*, int, int, int, int);
GREGALE_KERNEL decode_route_bf16(Bf16*, int*, float*, const float*, const float*, const Bf16*,
                                 const int*, float, int, int, int, int);
GREGALE_KERNEL decode_plan_tiles_bf16(Bf16*, GroupPlan*, int*, const Bf16*, const int*, int, int,
                                      int, int, int);
GREGALE_KERNEL decode_combine_parts_f32(float*, const float*, const int*, const float*, int, int,
                                        int, int, int);
GREGALE_KERNEL decode_gemm_parts_bf16(float*, const char*, const Bf16*, const GroupPlan*, int, int,
                                      int, int, int, int, int, int, int);
GREGALE_KERNEL decode_gemm_swiglu_bf16(Bf16*, const char*, const Bf16*, const GroupPlan*, int, int,
                                       int, int);

#define GREGALE_FP8_KERNELS(format)                                                                \
  GREGALE_KERNEL decode_qkv_##format##_d128(Bf16*, Bf16*, Bf16*, const float*, const Bf16*,        \
                                            const char*, const char*, const float*, const int*,    \
                                            const int*, float, int, int, int, int, int, int);      \
  GREGALE_KERNEL decode_qkv_##format##_d64(Bf16*, Bf16*, Bf16*, const float*, const Bf16*,         \
                                           const char*, const char*, const float*, const int*,     \
                                           const int*, float, int, int, int, int, int, int);       \
  GREGALE_KERNEL decode_add_linear_##format(float*, const Bf16*, const char*, const char*, int,    \
                                            int, int);                                             \
  GREGALE_KERNEL decode_gate_up_##format(Bf16*, int*, float*, const float*, const Bf16*,           \
                                         const Bf16*, const char*, const char*, const int*, float, \
                                         int, int, int, int, int, int, int);                       \
  GREGALE_KERNEL decode_down_##format(float*, const Bf16*, const int*, const char*, const char*,   \
                                      int, int, int, int, int, int);                               \
  GREGALE_KERNEL decode_gemm_parts_##format(float*, const char*, const char*, const Bf16*,         \
                                            const GroupPlan*, int, int, int, int, int, int, int,   \
                                            int, int, int);                                        \
  GREGALE_KERNEL decode_gemm_swiglu_##format(Bf16*, const char*, const char*, const Bf16*,         \
                                             const GroupPlan*, int, int, int, int, int);

GREGALE_FP8_KERNELS(fp8)
GREGALE_FP8_KERNELS(mxfp8)

enum class Format { kBf16, kFp8, kMxFp8 };

// A matrix in tiles; scales only with FP8 (fp8_codes.cuh).
struct Weight {
  char* tiles = nullptr;
  char* scales = nullptr;
};
