// What quantising makes of inputs, in bf16: to = code * scale, for weights whose recipe quantises the
// inputs of every product where the product itself is of bf16.
//
//   round_inputs_bf16   rows of `width`, each for itself: one scale of a row (448 / largest), of every
//                       128 columns (with or without its mantissa), a given one, or MXFP8's exponent
//                       of 32 columns. The scales are those of sm90a/quantize_rows.cu.
//
// Values that a given scale cuts off are added to `saturated`, in host memory.
//
// Codes times powers of two are exact in bf16, others are rounded to it. Grid: rows; block 128. `to`
// may be `from`.

#include <cuda_fp16.h>
#include <cuda_fp8.h>

#include "common.cuh"
#include "input_scales.cuh"

namespace {

constexpr int kThreads = 128;

__device__ __forceinline__ float rounded(float x, float scale) {
  const __nv_fp8_storage_t code = __nv_cvt_float_to_fp8(x * scale, __NV_SATFINITE, __NV_E4M3);
  return __half2float(__half(__nv_cvt_fp8_to_halfraw(code, __NV_E4M3))) * __frcp_rn(scale);
}

__device__ __forceinline__ float warp_largest(float value) {
#pragma unroll
  for (int offset = kWarpSize / 2; offset > 0; offset /= 2) {
    value = fmaxf(value, __shfl_xor_sync(0xffffffffu, value, offset));
  }
  return value;
}

}  // namespace

extern "C" __global__ void __launch_bounds__(kThreads)
    round_inputs_bf16(__nv_bfloat16* to, const __nv_bfloat16* from, int width, int recipe,
                      float static_scale, unsigned long long* saturated) {
  __shared__ float partial[kThreads / kWarpSize];
  const __nv_bfloat16* row = from + static_cast<size_t>(blockIdx.x) * width;
  __nv_bfloat16* out = to + static_cast<size_t>(blockIdx.x) * width;
  const int lane = threadIdx.x % kWarpSize;
  const int warp = threadIdx.x / kWarpSize;
  if (recipe == kPerRow || recipe == kStatic) {
    float largest = 0.0f;
    for (int i = threadIdx.x; i < width; i += kThreads) {
      largest = fmaxf(largest, fabsf(__bfloat162float(row[i])));
    }
    partial[warp] = warp_largest(largest);
    __syncthreads();
    largest = fmaxf(fmaxf(partial[0], partial[1]), fmaxf(partial[2], partial[3]));
    const float scale = recipe == kStatic ? __frcp_rn(static_scale) : scale_of(largest, recipe);
    int cut_off = 0;
    for (int i = threadIdx.x; i < width; i += kThreads) {
      const float x = __bfloat162float(row[i]);
      cut_off += is_cut_off(x, scale);
      out[i] = __float2bfloat16(rounded(x, scale));
    }
    if (recipe == kStatic) {
      count_saturated(saturated, cut_off);
    }
    return;
  }
  const int span = recipe == kMx ? 32 : 128;
  for (int first = warp * span; first < width; first += kThreads / kWarpSize * span) {
    const int end = min(first + span, width);
    float largest = 0.0f;
    for (int i = first + lane; i < end; i += kWarpSize) {
      largest = fmaxf(largest, fabsf(__bfloat162float(row[i])));
    }
    const float scale = scale_of(warp_largest(largest), recipe);
    for (int i = first + lane; i < end; i += kWarpSize) {
      out[i] = __float2bfloat16(rounded(__bfloat162float(row[i]), scale));
    }
  }
}
