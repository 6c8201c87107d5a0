// What happens to weights and batch arrays outside the forward pass.
//
//   weights_bf16_from_f32, weights_bf16_from_f16   a checkpoint's precision to bf16, to nearest even
//   weights_f32_from_bf16, weights_f32_from_f16    widening, exact (norm gains)
//   weights_random_bf16                            uniform of mean 0 and that deviation, from
//                                                  (seed, index): measuring without a checkpoint
//   weights_random_codes                           random E4M3 codes, no NaN among them
//   weights_bf16_from_codes                        code * scale of its block, to nearest even: for
//                                                  GPUs and shapes without kernels for codes
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

// Eight codes from one hash.
extern "C" __global__ void weights_random_codes(unsigned char* to, long long count,
                                                long long seed) {
  const long long stride = static_cast<long long>(gridDim.x) * blockDim.x * 8;
  for (long long i = (static_cast<long long>(blockIdx.x) * blockDim.x + threadIdx.x) * 8; i < count;
       i += stride) {
    unsigned long long bits = mix(mix(static_cast<unsigned long long>(seed)) + i / 8 + 1);
    for (int j = 0; j < 8; j++, bits >>= 8) {
      const unsigned char code = bits & 0xff;
      if (i + j < count) {
        to[i + j] = (code & 0x7f) == 0x7f ? code - 1 : code;
      }
    }
  }
}

__device__ __forceinline__ float e4m3_value(unsigned code) {
  const float value = (code & 0x7f) == 0x7f ? __int_as_float(0x7fc00000)
                      // The code's bits at a float's place are its value times 2^-120.
                      : __int_as_float((code & 0x7f) << 20) * 1.329227996e36f;
  return code & 0x80 ? -value : value;
}

// Scales: of row r those of grid row grid_rows[r], one for block_columns columns; E8M0 if exponents.
extern "C" __global__ void weights_bf16_from_codes(__nv_bfloat16* to, const unsigned char* codes,
                                                   const void* scales, const int* grid_rows,
                                                   long long count, int width, int columns,
                                                   int block_columns, int exponents) {
  const long long stride = static_cast<long long>(gridDim.x) * blockDim.x;
  for (long long i = static_cast<long long>(blockIdx.x) * blockDim.x + threadIdx.x; i < count;
       i += stride) {
    const long long at =
        static_cast<long long>(grid_rows[i / width]) * columns + i % width / block_columns;
    const float scale =
        exponents != 0
            ? ldexpf(1.0f, static_cast<const unsigned char*>(scales)[at] - 127)
            : static_cast<const float*>(scales)[at];
    to[i] = __float2bfloat16(e4m3_value(codes[i]) * scale);
  }
}
