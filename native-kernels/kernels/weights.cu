// What happens to weights and batch arrays outside the forward pass.
//
//   weights_bf16_from_f32, weights_bf16_from_f16   a checkpoint's precision to bf16, to nearest even
//   weights_f32_from_bf16, weights_f32_from_f16    widening, exact (norm gains)
//   weights_random_bf16                            uniform of mean 0 and that deviation, from
//                                                  (seed, index): measuring without a checkpoint
//
// Grid-stride loops over count elements.

#include <cuda_fp16.h>

#include "common.cuh"

namespace {

template <typename To, typename From, typename Convert>
__device__ __forceinline__ void convert_all(To* to, const From* from, long long count,
                                            Convert convert) {
  const long long stride = static_cast<long long>(gridDim.x) * blockDim.x;
  for (long long i = static_cast<long long>(blockIdx.x) * blockDim.x + threadIdx.x; i < count;
       i += stride) {
    to[i] = convert(from[i]);
  }
}

// SplitMix64's finaliser (Steele et al. 2014).
__device__ __forceinline__ unsigned long long mix(unsigned long long z) {
  z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9ull;
  z = (z ^ (z >> 27)) * 0x94D049BB133111EBull;
  return z ^ (z >> 31);
}

}  // namespace

extern "C" __global__ void weights_bf16_from_f32(__nv_bfloat16* to, const float* from,
                                                 long long count) {
  convert_all(to, from, count, [](float value) { return __float2bfloat16(value); });
}

extern "C" __global__ void weights_bf16_from_f16(__nv_bfloat16* to, const __half* from,
                                                 long long count) {
  convert_all(to, from, count, [](__half value) { return __float2bfloat16(__half2float(value)); });
}

extern "C" __global__ void weights_f32_from_bf16(float* to, const __nv_bfloat16* from,
                                                 long long count) {
  convert_all(to, from, count, [](__nv_bfloat16 value) { return __bfloat162float(value); });
}

extern "C" __global__ void weights_f32_from_f16(float* to, const __half* from, long long count) {
  convert_all(to, from, count, [](__half value) { return __half2float(value); });
}

// Four values from one 64-bit hash: 16 bits each are more than bf16 can tell apart.
extern "C" __global__ void weights_random_bf16(__nv_bfloat16* to, long long count, long long seed,
                                               float deviation) {
  const float scale = deviation * 1.7320508f / 32768.0f;  // uniform in +-sqrt(3) deviation
  const long long stride = static_cast<long long>(gridDim.x) * blockDim.x * 4;
  for (long long i = (static_cast<long long>(blockIdx.x) * blockDim.x + threadIdx.x) * 4; i < count;
       i += stride) {
    unsigned long long bits = mix(mix(static_cast<unsigned long long>(seed)) + i / 4 + 1);
    for (int j = 0; j < 4; j++, bits >>= 16) {
      if (i + j < count) {
        to[i + j] = __float2bfloat16((static_cast<int>(bits & 0xffff) - 32767.5f) * scale);
      }
    }
  }
}
