// The exported decode kernels, as a launcher sees them; kernels/*.cu say what each argument is.
#pragma once

#include <cuda_bf16.h>

#include "grouped_plan.cuh"

using Bf16 = __nv_bfloat16;

#define GREGALE_KERNEL extern "C" __global__ void

GREGALE_KERNEL decode_qkv_bf16_d128(Bf16*, Bf16*, Bf16*, const float*, const Bf16*, const Bf16*,
                                    const float*, const int*, const int*, float, int, int, int, int,
                                    int, int);
GREGALE_KERNEL decode_qkv_bf16_d64(Bf16*, Bf16*, Bf16*, const float*, const Bf16*, const Bf16*,
                                   const float*, const int*, const int*, float, int, int, int, int,
                                   int, int);
GREGALE_KERNEL decode_add_linear_bf16(float*, const Bf16*, const Bf16*, int, int, int);
GREGALE_KERNEL decode_lm_head_bf16(float*, const float*, const int*, const Bf16*, const Bf16*,
                                   float, int, int, int);
GREGALE_KERNEL decode_attention_bf16_d128(Bf16*, float*, int*, const Bf16*, const Bf16*,
                                          const Bf16*, const int*, const int*, const int*, float,
                                          int, int, int, int, int, int, int, int);
GREGALE_KERNEL decode_attention_bf16_d64(Bf16*, float*, int*, const Bf16*, const Bf16*, const Bf16*,
                                         const int*, const int*, const int*, float, int, int, int,
                                         int, int, int, int, int);
GREGALE_KERNEL decode_gate_up_bf16(Bf16*, int*, float*, const float*, const Bf16*, const Bf16*,
                                   const Bf16*, const int*, float, int, int, int, int, int);
GREGALE_KERNEL decode_down_bf16(float*, const Bf16*, const int*, const Bf16*, int, int, int, int);
GREGALE_KERNEL decode_norm_tiles_bf16(Bf16*, const float*, const int*, const Bf16*, float, int,
                                      int);
GREGALE_KERNEL decode_qkv_parts_bf16(Bf16*, Bf16*, Bf16*, const float*, const float*, const int*,
                                     const int*, int, int, int, int, int, int, int, int);
GREGALE_KERNEL decode_add_parts_f32(float*, const float*, int, int, int, int);
GREGALE_KERNEL decode_route_bf16(Bf16*, int*, float*, const float*, const Bf16*, const Bf16*,
                                 const int*, float, int, int, int);
GREGALE_KERNEL decode_plan_tiles_bf16(Bf16*, GroupPlan*, int*, const Bf16*, const int*, int, int,
                                      int, int);
GREGALE_KERNEL decode_combine_parts_f32(float*, const float*, const int*, const float*, int, int,
                                        int, int, int);
GREGALE_KERNEL decode_gemm_parts_bf16(float*, const Bf16*, const Bf16*, const GroupPlan*, int, int,
                                      int, int, int, int, int, int, int);
GREGALE_KERNEL decode_gemm_swiglu_bf16(Bf16*, const Bf16*, const Bf16*, const GroupPlan*, int, int,
                                       int, int);
