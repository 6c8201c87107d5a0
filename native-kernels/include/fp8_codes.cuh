// Weights in E4M3 (one byte: sign, 4 bits of exponent, bias 7, 3 of mantissa), their scales, and how
// their codes become bf16 in registers. Every code is exact in bf16, and so is its product with a
// power of two; 0x7F and 0xFF (NaN) are not expected here: weights that hold them are refused.
//
// Tiles are those of tiled_layout.cuh with 128 columns to a row of 128 bytes. Within a row the codes
// stand in the order in which lanes want them: the 16 bytes of chunk 4 g + c (g: columns 64 g to
// 64 g + 63) are what lane l % 4 = c needs of four k16 steps of mma.sync m16n8k16 or wgmma m64k16,
// four bytes a step: columns 2 c, 2 c + 8, 2 c + 1, 2 c + 9 of it. Bytes 0 and 2 then are the
// fragment's first register, bytes 1 and 3 the one 8 columns on. An fp8 wgmma does not care about
// the order, as its activations are stored in the same.
//
// Scales come in two forms, both beside the tiles and in their order:
//   fp8    fp32 [tile][16]: what the sums over the tile's 128 columns are multiplied by, of eight rows
//          each. The scale of a matrix repeats; a block of 128 x 128 fills a tile or, of gate or up,
//          every other group of two tiles.
//   mxfp8  E8M0 [tile][128 rows][4]: the exponents of 32 columns each, 127 for 1, at most 134.
#pragma once

#include <cuda_bf16.h>
#include <stdint.h>

#include "tiled_layout.cuh"

constexpr int kCodeColumns = 128;     // of a tile of codes
constexpr int kMxColumns = 32;        // that share an exponent
constexpr int kScaleRows = 8;          // that share a scale
constexpr int kTileScales = kTileRows / kScaleRows;
constexpr int kMxTileBytes = 4 * kTileRows;
constexpr int kMaxMxExponent = 134;   // 2^(134 - 7) is the largest factor that bf16 holds

// Where column k (0-127) of a row stands, before the swizzle.
__host__ __device__ __forceinline__ int code_byte(int k) {
  return (k / 64 * 4 + k / 2 % 4) * 16 + k / 16 % 4 * 4 + k % 2 * 2 + k / 8 % 2;
}

// Bytes from a tile's start to column k of row `row`.
__host__ __device__ __forceinline__ int swizzled_code(int row, int k) {
  return swizzled_bytes(row, code_byte(k) / 16) + code_byte(k) % 16;
}

// Where column k of a bf16 row stands that meets such codes by way of registers: lane c's 8 columns
// of two k16 steps are consecutive.
__host__ __device__ constexpr int code_token_order(int k) {
  return k / 32 * 32 + k / 2 % 4 * 8 + k / 16 % 2 * 4 + k / 8 % 2 * 2 + k % 2;
}

// 2^120 as two bf16: bits of a code at its place in a bf16 are the code's value times 2^-120.
constexpr uint32_t kCodeFactor = 0x7B807B80u;

// The same times 2^(exponent - 127), exponent the byte `which` of four.
__device__ __forceinline__ uint32_t mx_factor(uint32_t exponents, int which) {
  return (exponents >> (8 * which) & 0xFF) * 0x00800080u + 120u * 0x00800080u;
}

__device__ __forceinline__ uint32_t multiply_pair(uint32_t bits, uint32_t factor) {
  const __nv_bfloat162 product = __hmul2(*reinterpret_cast<const __nv_bfloat162*>(&bits),
                                         *reinterpret_cast<const __nv_bfloat162*>(&factor));
  return *reinterpret_cast<const uint32_t*>(&product);
}

// Bytes 0 and 2, and bytes 1 and 3, of four codes.
__device__ __forceinline__ uint32_t even_codes(uint32_t codes, uint32_t factor) {
  return multiply_pair((codes << 8 & 0x80008000u) | (codes << 4 & 0x07F007F0u), factor);
}

__device__ __forceinline__ uint32_t odd_codes(uint32_t codes, uint32_t factor) {
  return multiply_pair((codes & 0x80008000u) | (codes >> 4 & 0x07F007F0u), factor);
}

// The same without the factor: bf16 numbers that are the codes' values times 2^-120, those of subnormal
// codes subnormal too, which the matrix unit multiplies as exactly. 3 instructions of 4 and 5. `tokens`
// is what whoever uses them multiplies tokens with so that products stay in fp32's normal range, and
// `sums` what is left to multiply sums with.
constexpr float kBareCodeTokens = 18446744073709551616.0f;  // 2^64
constexpr float kBareCodeSums = 72057594037927936.0f;       // 2^56

__device__ __forceinline__ uint32_t bare_even_codes(uint32_t codes) {
  uint32_t spread;  // bytes 0 and 2, each below eight copies of its sign
  asm("prmt.b32 %0, %1, 0, 0xA280;" : "=r"(spread) : "r"(codes));
  return spread << 4 & 0x87F087F0u;
}

__device__ __forceinline__ uint32_t bare_odd_codes(uint32_t codes) {
  uint32_t spread;
  asm("prmt.b32 %0, %1, 0, 0xB391;" : "=r"(spread) : "r"(codes));
  return spread << 4 & 0x87F087F0u;
}
