// Codes of a weight tile in shared memory as wgmma's A in registers (fp8_codes.cuh, wgmma.cuh). sm_90a.
#pragma once

#include "fp8_codes.cuh"
#include "ptx_sm90.cuh"

// Rows `row` and `row` + 8 of a tile: what a lane needs of a warp's 16 rows.
class CodeRows {
 public:
  // exponents: of MXFP8, where has_exponents.
  __device__ __forceinline__ CodeRows(uint32_t tile, uint32_t exponents, int row, int lane,
                                      bool has_exponents)
      : codes_(tile + row * kRowBytes), lane_(lane), has_exponents_(has_exponents) {
    if (has_exponents) {
      low_ = load_shared_4(exponents + row * 4);
      high_ = load_shared_4(exponents + row * 4 + 32);
    }
  }

  // Columns 64 g to 64 g + 63, four k16 steps.
  __device__ __forceinline__ void convert(uint32_t (&fragments)[4][4], int g) const {
    const uint32_t chunk = codes_ + (((4 * g + lane_ % 4) ^ (lane_ / 4)) << 4);
    const uint4 low4 = load_shared_16(chunk);
    const uint4 high4 = load_shared_16(chunk + 8 * kRowBytes);
    const uint32_t lows[4] = {low4.x, low4.y, low4.z, low4.w};
    const uint32_t highs[4] = {high4.x, high4.y, high4.z, high4.w};
#pragma unroll
    for (int s = 0; s < 4; s++) {
      const uint32_t low = has_exponents_ ? mx_factor(low_, 2 * g + s / 2) : kCodeFactor;
      const uint32_t high = has_exponents_ ? mx_factor(high_, 2 * g + s / 2) : kCodeFactor;
      fragments[s][0] = even_codes(lows[s], low);
      fragments[s][1] = even_codes(highs[s], high);
      fragments[s][2] = odd_codes(lows[s], low);
      fragments[s][3] = odd_codes(highs[s], high);
    }
  }

 private:
  const uint32_t codes_;
  const int lane_;
  const bool has_exponents_;
  uint32_t low_ = 0;
  uint32_t high_ = 0;
};
