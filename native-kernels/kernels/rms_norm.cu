// RMSNorm: out = x / sqrt(mean(x^2) + eps) * weight, per row of [rows, D].
//
//   rms_norm_bf16   Kernels.rmsNorm: x is the fp32 residual stream
//   add_f32         Kernels.add: residual += x, which is fp32 or bf16
//
// rms_norm_bf16: one block per row (blockIdx.x < rows), any number of threads that is a multiple of 32 and at most
// 1024. Any D; 16 bytes at a time where D is a multiple of 8 and rows are therefore aligned. Sums in
// fp32, in an order fixed by D and the number of threads.

#include "rms_norm.cuh"

namespace {

constexpr int kPack = kNormColumns;

__device__ __forceinline__ void load(const float* row, int at, float (&values)[kPack]) {
  const float4 low = reinterpret_cast<const float4*>(row + at)[0];
  const float4 high = reinterpret_cast<const float4*>(row + at)[1];
  values[0] = low.x, values[1] = low.y, values[2] = low.z, values[3] = low.w;
  values[4] = high.x, values[5] = high.y, values[6] = high.z, values[7] = high.w;
}

__device__ void normalise(__nv_bfloat16* out, const float* row, const float* weight, float sum,
                          float eps, int width) {
  const float scale = norm_scale(sum, width, eps);
  if (width % kPack != 0) {
    for (int at = threadIdx.x; at < width; at += blockDim.x) {
      out[at] = __float2bfloat16(row[at] * scale * weight[at]);
    }
    return;
  }
  for (int at = threadIdx.x * kPack; at < width; at += blockDim.x * kPack) {
    float values[kPack];
    float gain[kPack];
    load(row, at, values);
    load(weight, at, gain);
    *reinterpret_cast<Bf16x8*>(out + at) = normed(values, gain, scale);
  }
}

}  // namespace

extern "C" __global__ void rms_norm_bf16(__nv_bfloat16* out,   // [rows, D]
                                         const float* x,       // [rows, D]
                                         const float* weight,  // [D]
                                         float eps, int width) {
  const size_t start = static_cast<size_t>(blockIdx.x) * width;
  const float* row = x + start;
  float sum = 0.0f;
  if (width % kPack != 0) {
    for (int at = threadIdx.x; at < width; at += blockDim.x) {
      sum = fmaf(row[at], row[at], sum);
    }
  } else {
    for (int at = threadIdx.x * kPack; at < width; at += blockDim.x * kPack) {
      float values[kPack];
      load(row, at, values);
      sum = add_squares(sum, values);
    }
  }
  normalise(out + start, row, weight, sum, eps, width);
}

// Grid (ceil(D / blockDim.x), rows).
extern "C" __global__ void add_f32(float* residual,  // [rows, D]
                                   const void* x,    // [rows, D]
                                   int width, int x_is_f32) {
  const int column = blockIdx.x * blockDim.x + threadIdx.x;
  if (column < width) {
    const size_t at = static_cast<size_t>(blockIdx.y) * width + column;
    residual[at] += x_is_f32 != 0 ? static_cast<const float*>(x)[at]
                                  : __bfloat162float(static_cast<const __nv_bfloat16*>(x)[at]);
  }
}
