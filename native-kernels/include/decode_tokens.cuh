// Building blocks of the kernels of a small decode batch: loads, dependent launch, the bf16 product,
// and rows of tokens in shared memory.
#pragma once

#include "common.cuh"
#include "dependent_launch.cuh"
#include "tiled_layout.cuh"

constexpr int kDecodeTokens = 8;  // N of mma.sync m16n8k16
constexpr int kDecodeThreads = 512;
constexpr int kDecodeWarps = kDecodeThreads / kWarpSize;
constexpr int kRowPad = 64;  // bytes: two token rows then fill all 32 banks
constexpr unsigned kAllLanes = 0xffffffffu;

// ---- loads --------------------------------------------------------------------------------------

// Weights are read once a step: they need not stay in L1.
__device__ __forceinline__ uint4 load_weights(const void* from) {
  uint4 v;
  asm volatile("ld.global.nc.L1::no_allocate.v4.u32 {%0, %1, %2, %3}, [%4];"
               : "=r"(v.x), "=r"(v.y), "=r"(v.z), "=r"(v.w)
               : "l"(from));
  return v;
}

// What an earlier kernel wrote: never through the read-only path, which may hold older bytes when
// launches overlap.
__device__ __forceinline__ uint4 load_written(const void* from) {
  uint4 v;
  asm volatile("ld.global.v4.u32 {%0, %1, %2, %3}, [%4];"
               : "=r"(v.x), "=r"(v.y), "=r"(v.z), "=r"(v.w)
               : "l"(from)
               : "memory");
  return v;
}

__device__ __forceinline__ float4 load_written_float4(const float* from) {
  const uint4 v = load_written(from);
  return make_float4(__uint_as_float(v.x), __uint_as_float(v.y), __uint_as_float(v.z),
                     __uint_as_float(v.w));
}

// What comes with the weights: a line of it serves several loads, so it may stay in L1.
__device__ __forceinline__ uint32_t load_word(const char* from) {
  uint32_t v;
  asm volatile("ld.global.nc.u32 %0, [%1];" : "=r"(v) : "l"(from));
  return v;
}

__device__ __forceinline__ uint2 load_two_words(const char* from) {
  uint2 v;
  asm volatile("ld.global.nc.v2.u32 {%0, %1}, [%2];" : "=r"(v.x), "=r"(v.y) : "l"(from));
  return v;
}

__device__ __forceinline__ float2 load_pair(const float* from) {
  float2 v;
  asm volatile("ld.global.v2.f32 {%0, %1}, [%2];" : "=f"(v.x), "=f"(v.y) : "l"(from) : "memory");
  return v;
}

__device__ __forceinline__ float load_written_float(const float* from) {
  float v;
  asm volatile("ld.global.f32 %0, [%1];" : "=f"(v) : "l"(from) : "memory");
  return v;
}

// ---- mma.sync m16n8k16, bf16, fp32 accumulators -------------------------------------------------

__device__ __forceinline__ void mma_bf16(float (&d)[4], uint32_t a0, uint32_t a1, uint32_t a2,
                                         uint32_t a3, uint32_t b0, uint32_t b1) {
  asm("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, "
      "{%8, %9}, {%0, %1, %2, %3};"
      : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
      : "r"(a0), "r"(a1), "r"(a2), "r"(a3), "r"(b0), "r"(b1));
}
