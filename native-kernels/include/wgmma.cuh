// wgmma in bf16 with fp32 accumulators: D[64, N] += A[64, 16] B[N, 16]^T, one warpgroup an
// instruction. Operands lie in shared memory as 128-byte rows with the 128-byte swizzle
// (tiled_layout.cuh). sm_90a.
//
// Thread t of the warpgroup (warp w = t / 32, lane l) holds of D, for j = 0 .. N/8 - 1:
//   d[4j], d[4j + 1]      row 16 w + l / 4,     columns 8 j + 2 (l % 4) and the next
//   d[4j + 2], d[4j + 3]  row 16 w + l / 4 + 8, the same columns
#pragma once

#include <stdint.h>

// Descriptor of a K-major operand: start address, 1,024 bytes between groups of eight rows. The
// next 16 columns along K are 32 bytes on: add 2.
__device__ __forceinline__ uint64_t matrix_descriptor(uint32_t address) {
  return (uint64_t{1} << 62) | (uint64_t{64} << 32) | (uint64_t{1} << 16) |
         ((address & 0x3FFFF) >> 4);
}

// Descriptor of an operand whose 128-byte rows run along N (V of attention: rows are tokens):
// panel_bytes from one 64-column panel to the next, 1,024 bytes between groups of eight rows.
__device__ __forceinline__ uint64_t transposed_descriptor(uint32_t address, uint32_t panel_bytes) {
  return (uint64_t{1} << 62) | (uint64_t{64} << 32) |
         (static_cast<uint64_t>(panel_bytes >> 4) << 16) | ((address & 0x3FFFF) >> 4);
}

__device__ __forceinline__ void wgmma_fence() {
  asm volatile("wgmma.fence.sync.aligned;" ::: "memory");
}

__device__ __forceinline__ void wgmma_commit() {
  asm volatile("wgmma.commit_group.sync.aligned;" ::: "memory");
}

// Waits until at most kPending committed groups are unfinished.
template <int kPending>
__device__ __forceinline__ void wgmma_wait() {
  asm volatile("wgmma.wait_group.sync.aligned %0;" ::"n"(kPending) : "memory");
}

// Keeps the compiler from moving reads of accumulators above the wait that makes them valid.
template <int kCount>
__device__ __forceinline__ void keep_order(float (&d)[kCount]) {
#pragma unroll
  for (int i = 0; i < kCount; i++) {
    asm volatile("" : "+f"(d[i])::"memory");
  }
}

// Operand lists in blocks of eight registers.
#define GREGALE_R0 "%0,%1,%2,%3,%4,%5,%6,%7"
#define GREGALE_R1 GREGALE_R0 ",%8,%9,%10,%11,%12,%13,%14,%15"
#define GREGALE_R2 GREGALE_R1 ",%16,%17,%18,%19,%20,%21,%22,%23"
#define GREGALE_R3 GREGALE_R2 ",%24,%25,%26,%27,%28,%29,%30,%31"
#define GREGALE_R4 GREGALE_R3 ",%32,%33,%34,%35,%36,%37,%38,%39"
#define GREGALE_R5 GREGALE_R4 ",%40,%41,%42,%43,%44,%45,%46,%47"
#define GREGALE_R6 GREGALE_R5 ",%48,%49,%50,%51,%52,%53,%54,%55"
#define GREGALE_R7 GREGALE_R6 ",%56,%57,%58,%59,%60,%61,%62,%63"
#define GREGALE_R8 GREGALE_R7 ",%64,%65,%66,%67,%68,%69,%70,%71"
#define GREGALE_R9 GREGALE_R8 ",%72,%73,%74,%75,%76,%77,%78,%79"
#define GREGALE_R10 GREGALE_R9 ",%80,%81,%82,%83,%84,%85,%86,%87"
#define GREGALE_R11 GREGALE_R10 ",%88,%89,%90,%91,%92,%93,%94,%95"
#define GREGALE_R12 GREGALE_R11 ",%96,%97,%98,%99,%100,%101,%102,%103"
#define GREGALE_R13 GREGALE_R12 ",%104,%105,%106,%107,%108,%109,%110,%111"
#define GREGALE_R14 GREGALE_R13 ",%112,%113,%114,%115,%116,%117,%118,%119"
#define GREGALE_R15 GREGALE_R14 ",%120,%121,%122,%123,%124,%125,%126,%127"
#define GREGALE_D(i)                                                                              \
  "+f"(d[8 * i]), "+f"(d[8 * i + 1]), "+f"(d[8 * i + 2]), "+f"(d[8 * i + 3]), "+f"(d[8 * i + 4]), \
      "+f"(d[8 * i + 5]), "+f"(d[8 * i + 6]), "+f"(d[8 * i + 7])
#define GREGALE_D0 GREGALE_D(0)
#define GREGALE_D1 GREGALE_D0, GREGALE_D(1)
#define GREGALE_D2 GREGALE_D1, GREGALE_D(2)
#define GREGALE_D3 GREGALE_D2, GREGALE_D(3)
#define GREGALE_D4 GREGALE_D3, GREGALE_D(4)
#define GREGALE_D5 GREGALE_D4, GREGALE_D(5)
#define GREGALE_D6 GREGALE_D5, GREGALE_D(6)
#define GREGALE_D7 GREGALE_D6, GREGALE_D(7)
#define GREGALE_D8 GREGALE_D7, GREGALE_D(8)
#define GREGALE_D9 GREGALE_D8, GREGALE_D(9)
#define GREGALE_D10 GREGALE_D9, GREGALE_D(10)
#define GREGALE_D11 GREGALE_D10, GREGALE_D(11)
#define GREGALE_D12 GREGALE_D11, GREGALE_D(12)
#define GREGALE_D13 GREGALE_D12, GREGALE_D(13)
#define GREGALE_D14 GREGALE_D13, GREGALE_D(14)
#define GREGALE_D15 GREGALE_D14, GREGALE_D(15)

#define GREGALE_OUT(i)                                                                            \
  "=f"(d[8 * i]), "=f"(d[8 * i + 1]), "=f"(d[8 * i + 2]), "=f"(d[8 * i + 3]), "=f"(d[8 * i + 4]), \
      "=f"(d[8 * i + 5]), "=f"(d[8 * i + 6]), "=f"(d[8 * i + 7])

// Width N = 16 (last + 1) has N / 2 = 8 (last + 1) registers; then come the descriptors A and B.
#define GREGALE_WGMMA(N, last, A, B)                                                          \
  if constexpr (kN == N) {                                                                    \
    asm volatile("wgmma.mma_async.sync.aligned.m64n" #N "k16.f32.bf16.bf16 {" GREGALE_R##last \
                 "}, %" #A ", %" #B ", 1, 1, 1, 0, 0;"                                        \
                 : GREGALE_D##last                                                            \
                 : "l"(a), "l"(b));                                                           \
  }

// One k16 step: d += A B^T.
template <int kN>
__device__ __forceinline__ void wgmma_bf16(float (&d)[kN / 2], uint64_t a, uint64_t b) {
  static_assert(kN % 16 == 0 && kN >= 16 && kN <= 256, "N is a multiple of 16 up to 256");
  GREGALE_WGMMA(16, 0, 8, 9)
  GREGALE_WGMMA(32, 1, 16, 17)
  GREGALE_WGMMA(48, 2, 24, 25)
  GREGALE_WGMMA(64, 3, 32, 33)
  GREGALE_WGMMA(80, 4, 40, 41)
  GREGALE_WGMMA(96, 5, 48, 49)
  GREGALE_WGMMA(112, 6, 56, 57)
  GREGALE_WGMMA(128, 7, 64, 65)
  GREGALE_WGMMA(144, 8, 72, 73)
  GREGALE_WGMMA(160, 9, 80, 81)
  GREGALE_WGMMA(176, 10, 88, 89)
  GREGALE_WGMMA(192, 11, 96, 97)
  GREGALE_WGMMA(208, 12, 104, 105)
  GREGALE_WGMMA(224, 13, 112, 113)
  GREGALE_WGMMA(240, 14, 120, 121)
  GREGALE_WGMMA(256, 15, 128, 129)
}

// The same with A in registers, in the fragment order of mma.sync m16n8k16 for each warp's 16 rows
// (a[0], a[1]: columns 2 (l % 4) and the next of rows l / 4 and l / 4 + 8; a[2], a[3]: 8 columns
// on). d = A B^T where `fresh`.
#define GREGALE_WGMMA_REGISTERS(N, last, A0, A1, A2, A3, B, F)                                     \
  if constexpr (kN == N) {                                                                         \
    asm volatile("{\n.reg .pred p;\nsetp.eq.s32 p, %" #F                                           \
                 ", 0;\nwgmma.mma_async.sync.aligned.m64n" #N                                      \
                 "k16.f32.bf16.bf16 {" GREGALE_R##last "}, {%" #A0 ", %" #A1 ", %" #A2 ", %" #A3   \
                 "}, %" #B ", p, 1, 1, 0;\n}"                                                      \
                 : GREGALE_D##last                                                                 \
                 : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "l"(b),                             \
                   "r"(static_cast<int>(fresh)));                                                  \
  }

template <int kN>
__device__ __forceinline__ void wgmma_bf16_registers(float (&d)[kN / 2], const uint32_t (&a)[4],
                                                     uint64_t b, bool fresh) {
  static_assert(kN % 16 == 0 && kN >= 16 && kN <= 256, "N is a multiple of 16 up to 256");
  GREGALE_WGMMA_REGISTERS(16, 0, 8, 9, 10, 11, 12, 13)
  GREGALE_WGMMA_REGISTERS(32, 1, 16, 17, 18, 19, 20, 21)
  GREGALE_WGMMA_REGISTERS(48, 2, 24, 25, 26, 27, 28, 29)
  GREGALE_WGMMA_REGISTERS(64, 3, 32, 33, 34, 35, 36, 37)
  GREGALE_WGMMA_REGISTERS(80, 4, 40, 41, 42, 43, 44, 45)
  GREGALE_WGMMA_REGISTERS(96, 5, 48, 49, 50, 51, 52, 53)
  GREGALE_WGMMA_REGISTERS(112, 6, 56, 57, 58, 59, 60, 61)
  GREGALE_WGMMA_REGISTERS(128, 7, 64, 65, 66, 67, 68, 69)
  GREGALE_WGMMA_REGISTERS(144, 8, 72, 73, 74, 75, 76, 77)
  GREGALE_WGMMA_REGISTERS(160, 9, 80, 81, 82, 83, 84, 85)
  GREGALE_WGMMA_REGISTERS(176, 10, 88, 89, 90, 91, 92, 93)
  GREGALE_WGMMA_REGISTERS(192, 11, 96, 97, 98, 99, 100, 101)
  GREGALE_WGMMA_REGISTERS(208, 12, 104, 105, 106, 107, 108, 109)
  GREGALE_WGMMA_REGISTERS(224, 13, 112, 113, 114, 115, 116, 117)
  GREGALE_WGMMA_REGISTERS(240, 14, 120, 121, 122, 123, 124, 125)
  GREGALE_WGMMA_REGISTERS(256, 15, 128, 129, 130, 131, 132, 133)
}

// One k32 step in E4M3: d += A B^T, or d = A B^T where `fresh`. The matrix unit adds with few bits:
// sums are to leave it every 128 columns.
#define GREGALE_WGMMA_E4M3(N, last, A, B, F)                                                     \
  if constexpr (kN == N) {                                                                       \
    asm volatile("{\n.reg .pred p;\nsetp.eq.s32 p, %" #F                                         \
                 ", 0;\nwgmma.mma_async.sync.aligned.m64n" #N                                    \
                 "k32.f32.e4m3.e4m3 {" GREGALE_R##last "}, %" #A ", %" #B ", p, 1, 1;\n}"        \
                 : GREGALE_D##last                                                               \
                 : "l"(a), "l"(b), "r"(static_cast<int>(fresh)));                                \
  }

template <int kN>
__device__ __forceinline__ void wgmma_e4m3(float (&d)[kN / 2], uint64_t a, uint64_t b, bool fresh) {
  static_assert(kN % 16 == 0 && kN >= 16 && kN <= 128, "N is a multiple of 16 up to 128");
  GREGALE_WGMMA_E4M3(16, 0, 8, 9, 10)
  GREGALE_WGMMA_E4M3(32, 1, 16, 17, 18)
  GREGALE_WGMMA_E4M3(48, 2, 24, 25, 26)
  GREGALE_WGMMA_E4M3(64, 3, 32, 33, 34)
  GREGALE_WGMMA_E4M3(80, 4, 40, 41, 42)
  GREGALE_WGMMA_E4M3(96, 5, 48, 49, 50)
  GREGALE_WGMMA_E4M3(112, 6, 56, 57, 58)
  GREGALE_WGMMA_E4M3(128, 7, 64, 65, 66)
}

// The first k16 step of a product of width 128: d = A B^T.
__device__ __forceinline__ void wgmma_bf16_first_n128(float (&d)[64], uint64_t a, uint64_t b) {
  asm volatile("wgmma.mma_async.sync.aligned.m64n128k16.f32.bf16.bf16 {" GREGALE_R7
               "}, %64, %65, 0, 1, 1, 0, 0;"
               : GREGALE_OUT(0), GREGALE_OUT(1), GREGALE_OUT(2), GREGALE_OUT(3), GREGALE_OUT(4),
                 GREGALE_OUT(5), GREGALE_OUT(6), GREGALE_OUT(7)
               : "l"(a), "l"(b));
}

// d += A B with A in registers, in the fragment order of D's own rows (a[0], a[1]: columns 0-7 of
// rows l / 4 and l / 4 + 8; a[2], a[3]: columns 8-15), and B transposed: D[64, 128] += A B[16,
// 128].
__device__ __forceinline__ void wgmma_bf16_registers_n128(float (&d)[64], const uint32_t (&a)[4],
                                                          uint64_t b) {
  asm volatile("wgmma.mma_async.sync.aligned.m64n128k16.f32.bf16.bf16 {" GREGALE_R7
               "}, {%64, %65, %66, %67}, %68, 1, 1, 1, 1;"
               : GREGALE_D7
               : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "l"(b));
}
