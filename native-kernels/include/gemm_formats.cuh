// The grouped GEMM (grouped_gemm.cuh) with FP8 weights (fp8_codes.cuh), in two ways. Its k tiles are
// 128 columns.
//
//   GemmFp8     tokens in E4M3 too, at twice the rate of bf16. Sums leave the matrix unit, which adds
//               with few bits, after every tile, and are scaled on the way. The order of a token's
//               codes in a tile is that of the weights. Scales of tokens: one of a row, [padded
//               row], or (kBlock) of 128 columns of a row, [token tile][k_tile][n], like the tiles.
//   GemmCodes   tokens in bf16, in tiles of 64 columns: codes become bf16 on their way from shared
//               memory to registers, exactly, and no activation is rounded to less.
#pragma once

#include "grouped_gemm.cuh"

template <bool kBlock>
struct GemmFp8 {
  static constexpr int kTokenTiles = 1;
  // 256 without blocks' scales, with which they would spill.
  static constexpr int kMaxRows = kBlock ? 224 : kMaxTileRows;
  static constexpr int kStep = 2 * kTileRowStep;  // halves of n are multiples of 16
  static __host__ __device__ constexpr int extra_bytes(int n) { return kBlock ? n * 4 : 0; }
  static __device__ __forceinline__ const void* extra(const GemmOperands& op, const Unit& unit,
                                                      size_t, int k) {
    return op.token_scales + static_cast<size_t>(unit.first_row) * op.k_tiles + k * unit.n;
  }
};

template <bool kMx>
struct GemmCodes {
  static constexpr int kTokenTiles = 2;
  static constexpr int kMaxRows = 128;
  static constexpr int kStep = kTileRowStep;
  static __host__ __device__ constexpr int extra_bytes(int) { return kMx ? kMxTileBytes : 0; }
  static __device__ __forceinline__ const void* extra(const GemmOperands& op, const Unit&,
                                                      size_t tile, int) {
    return op.scales + tile * kMxTileBytes;
  }
};

// The factors of a warp's 16 rows in this CTA's weight tiles, one tile ahead of where they are needed.
class TileScales {
 public:
  __device__ __forceinline__ TileScales(const GemmOperands& op, const Unit& unit, int strip)
      : left_(op.k_tiles) {
    const int n_tile = min(unit.n_tile, op.n_tiles - 1);
    next_ = reinterpret_cast<const float2*>(op.scales) +
            (static_cast<size_t>(unit.expert) * op.n_tiles + n_tile) * op.k_tiles *
                (kTileScales / 2) +
            strip;
    ahead_ = __ldg(next_);
  }

  __device__ __forceinline__ float2 next() {
    const float2 now = ahead_;
    next_ += kTileScales / 2;
    if (--left_ > 0) {
      ahead_ = __ldg(next_);
    }
    return now;
  }

 private:
  const float2* next_;
  float2 ahead_;
  int left_;
};

// Both warpgroups take turns: while one scales its sums, the other's products run. Above 128 tokens
// in two halves, since there are registers for all sums and 64 more.
template <int kN, bool kBlock>
__device__ __forceinline__ void gemm_multiply(GemmFp8<kBlock>, float (&acc)[kN / 2],
                                              const Unit& unit, const GemmOperands& op,
                                              const GemmShared& shared, RingPlace& place,
                                              int warpgroup, int lane) {
  constexpr int kParts = kN > 128 ? 2 : 1;
  constexpr int kWidth = kN / kParts;
  float sum[kWidth / 2] = {};  // zeroed for the same reason as acc
#pragma unroll
  for (int i = 0; i < kN / 2; i++) {
    acc[i] = 0.0f;
  }
  TileScales scales(op, unit, warpgroup * 4 + threadIdx.x / 32 % 4);
  for (int k = 0; k < op.k_tiles; k++) {
    const float2 scale = scales.next();
    barrier_wait(shared.full(place.slot), place.parity);
    const uint64_t a = matrix_descriptor(shared.weights(place.slot) + warpgroup * (kTileBytes / 2));
#pragma unroll
    for (int part = 0; part < kParts; part++) {
      const uint64_t b =
          matrix_descriptor(shared.tokens(place.slot) + part * kWidth * kRowBytes);
      wgmma_fence();
#pragma unroll
      for (int i = 0; i < kCodeColumns / 32; i++) {
        wgmma_e4m3<kWidth>(sum, a + 2 * i, b + 2 * i, i == 0);
      }
      wgmma_commit();
      wgmma_wait<0>();
      keep_order(sum);
      if (part == kParts - 1 && !kBlock) {
        release(shared, place.slot, lane);
      }
#pragma unroll
      for (int j = 0; j < kWidth / 8; j++) {
        float2 of_tokens = make_float2(1.0f, 1.0f);
        if constexpr (kBlock) {
          of_tokens = load_shared_float2(shared.extra(place.slot) +
                                         (part * kWidth + 8 * j + lane % 4 * 2) * 4);
        }
#pragma unroll
        for (int i = 0; i < 4; i++) {
          const float of_token = i % 2 == 0 ? of_tokens.x : of_tokens.y;
          float& to = acc[part * kWidth / 2 + 4 * j + i];
          to = fmaf(i < 2 ? scale.x : scale.y, kBlock ? sum[4 * j + i] * of_token : sum[4 * j + i],
                    to);
        }
      }
    }
    if (kBlock) {
      release(shared, place.slot, lane);
    }
    place.advance(shared.stages);
  }
  if constexpr (!kBlock) {
    const float2* of_rows =
        reinterpret_cast<const float2*>(op.token_scales + unit.first_row + lane % 4 * 2);
#pragma unroll
    for (int j = 0; j < kN / 8; j++) {
      const float2 of_tokens = 8 * j < unit.n ? __ldg(of_rows + 4 * j) : float2{};
#pragma unroll
      for (int i = 0; i < 4; i++) {
        acc[4 * j + i] *= i % 2 == 0 ? of_tokens.x : of_tokens.y;
      }
    }
  }
}

template <int kN, bool kMx>
__device__ __forceinline__ void gemm_multiply(GemmCodes<kMx>, float (&acc)[kN / 2],
                                              const Unit& unit, const GemmOperands& op,
                                              const GemmShared& shared, RingPlace& place,
                                              int warpgroup, int lane) {
  float sum[kMx ? 1 : kN / 2] = {};
#pragma unroll
  for (int i = 0; i < kN / 2; i++) {
    acc[i] = 0.0f;
  }
  const int strip = warpgroup * 4 + threadIdx.x / 32 % 4;
  const int row = strip * 16 + lane / 4;
  TileScales scales(op, unit, strip);  // not used with exponents
  for (int k = 0; k < op.k_tiles; k++) {
    const float2 scale = kMx ? float2{} : scales.next();
    barrier_wait(shared.full(place.slot), place.parity);
    const CodeRows codes(shared.weights(place.slot), shared.extra(place.slot), row, lane, kMx);
    multiply_code_tile<kN, kMx>(acc, sum, codes, scale, shared.tokens(place.slot),
                                unit.n * kRowBytes);
    release(shared, place.slot, lane);
    place.advance(shared.stages);
  }
}
