// RMSNorm: out = x / sqrt(mean(x^2) + eps) * weight, per row of [rows, D].
//
//   rms_norm_bf16      Kernels.rmsNorm: x is the fp32 residual stream
//   add_rms_norm_bf16  Kernels.addRmsNorm: residual += x first; x is fp32 or bf16, and out may be it
//
// One block per row (blockIdx.x < rows), any number of threads that is a multiple of 32 and at most
// 1024. Any D; 16 bytes at a time where D is a multiple of 8 and rows are therefore aligned. Sums in
// fp32, in an order fixed by D and the number of threads.

#include "common.cuh"

namespace {

constexpr int kPack = 8;

__device__ __forceinline__ void load(const float* row, int at, float (&values)[kPack]) {
  const float4 low = reinterpret_cast<const float4*>(row + at)[0];
  const float4 high = reinterpret_cast<const float4*>(row + at)[1];
  values[0] = low.x, values[1] = low.y, values[2] = low.z, values[3] = low.w;
  values[4] = high.x, values[5] = high.y, values[6] = high.z, values[7] = high.w;
}

// x is fp32 or bf16.
__device__ __forceinline__ void load(const void* x, bool is_f32, size_t at,
                                     float (&values)[kPack]) {
  if (is_f32) {
    load(static_cast<const float*>(x) + at, 0, values);
  } else {
    unpack(*reinterpret_cast<const Bf16x8*>(static_cast<const __nv_bfloat16*>(x) + at), values);
  }
}

__device__ __forceinline__ float load_one(const void* x, bool is_f32, size_t at) {
  return is_f32 ? static_cast<const float*>(x)[at]
                : __bfloat162float(static_cast<const __nv_bfloat16*>(x)[at]);
}

__device__ __forceinline__ void store(float* row, int at, const float (&values)[kPack]) {
  reinterpret_cast<float4*>(row + at)[0] = make_float4(values[0], values[1], values[2], values[3]);
  reinterpret_cast<float4*>(row + at)[1] = make_float4(values[4], values[5], values[6], values[7]);
}

__device__ __forceinline__ float sum_of_squares(const float (&values)[kPack]) {
  float sum = 0.0f;
#pragma unroll
  for (int i = 0; i < kPack; i++) {
    sum = fmaf(values[i], values[i], sum);
  }
  return sum;
}

// Each thread reads back only what it wrote itself, so the row needs no second synchronisation.
__device__ void normalise(__nv_bfloat16* out, const float* row, const float* weight, float sum,
                          float eps, int width) {
  const float scale = rsqrtf(block_sum(sum) / width + eps);
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
#pragma unroll
    for (int i = 0; i < kPack; i++) {
      values[i] = values[i] * scale * gain[i];
    }
    *reinterpret_cast<Bf16x8*>(out + at) = pack(values);
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
      sum += sum_of_squares(values);
    }
  }
  normalise(out + start, row, weight, sum, eps, width);
}

extern "C" __global__ void add_rms_norm_bf16(__nv_bfloat16* out,   // [rows, D], may be x
                                             float* residual,      // [rows, D]
                                             const void* x,        // [rows, D]
                                             const float* weight,  // [D]
                                             float eps, int width, int x_is_f32) {
  const size_t start = static_cast<size_t>(blockIdx.x) * width;
  float* row = residual + start;
  float sum = 0.0f;
  if (width % kPack != 0) {
    for (int at = threadIdx.x; at < width; at += blockDim.x) {
      const float value = row[at] + load_one(x, x_is_f32 != 0, start + at);
      row[at] = value;
      sum = fmaf(value, value, sum);
    }
  } else {
    for (int at = threadIdx.x * kPack; at < width; at += blockDim.x * kPack) {
      float values[kPack];
      float added[kPack];
      load(row, at, values);
      load(x, x_is_f32 != 0, start + at, added);
#pragma unroll
      for (int i = 0; i < kPack; i++) {
        values[i] += added[i];
      }
      store(row, at, values);
      sum += sum_of_squares(values);
    }
  }
  normalise(out + start, row, weight, sum, eps, width);
}
