// The FP8 prefill kernels' declarations, and their launches as the head comments of kernels/sm90a
// describe them.
#pragma once

#include "fp8_codes.cuh"
#include "prefill_kernels.cuh"

#define GREGALE_EXPERTS(format, Row)                                                              \
  __global__ void expert_gate_up_##format(bf16*, const char*, const char*, const char*,           \
                                          const float*, const GroupPlan*, int, int, int, int);    \
  __global__ void expert_down_##format(Row*, const char*, const char*, const char*,               \
                                       const float*, const GroupPlan*, int, int, int, int, int);  \
  __global__ void matmul_##format##_bf16(bf16*, const char*, const char*, const char*,            \
                                         const float*, int, int, int, int, int, int);             \
  __global__ void matmul_##format##_f32(float*, const char*, const char*, const char*,            \
                                        const float*, int, int, int, int, int, int);

extern "C" {
GREGALE_EXPERTS(fp8_rows, bf16)
GREGALE_EXPERTS(fp8_blocks, bf16)
GREGALE_EXPERTS(fp8_bf16, float)
GREGALE_EXPERTS(mxfp8_bf16, float)
__global__ void quantize_rows_fp8(char*, float*, const bf16*, int, int, int, int, float,
                                  unsigned long long*);
__global__ void quantize_rows_fp8_narrow(char*, float*, const bf16*, int, int, int, int, float,
                                         unsigned long long*);
__global__ void quantize_gather_fp8(char*, float*, const bf16*, const GroupPlan*, const int*, int,
                                    int, int, int, float, unsigned long long*);
__global__ void quantize_gather_fp8_narrow(char*, float*, const bf16*, const GroupPlan*, const int*,
                                           int, int, int, int, float, unsigned long long*);
__global__ void quantize_tiles_fp8(char*, float*, const bf16*, const GroupPlan*, const int*, int,
                                   int, int, float, unsigned long long*);
__global__ void tile_codes_fp8(char*, const char*, int, int);
__global__ void tile_gate_up_codes_fp8(char*, const char*, const char*, long long, int, int);
__global__ void tile_scales_fp8(float*, const float*, const int*, int, int, int, int);
__global__ void tile_exponents_mxfp8(uint8_t*, const uint8_t*, const int*, int, int, int);
}

// How weights and tokens are kept.
enum class Fp8 { kRows, kBlocks, kBf16, kMxBf16 };

inline int most_rows(Fp8 format) {
  return format == Fp8::kRows ? 256 : format == Fp8::kBlocks ? 224 : 128;
}
inline bool quantizes(Fp8 format) { return format == Fp8::kRows || format == Fp8::kBlocks; }
inline int recipe_of(Fp8 format) { return format == Fp8::kRows ? 0 : 2; }
constexpr int kNarrowColumns = 4096;  // at most, of quantize_..._narrow
inline int code_tiles(int k) { return ceil_div(k, kCodeColumns); }

#define GREGALE_ALLOW(format)                          \
  allow_shared(expert_gate_up_##format, kGemmShared);  \
  allow_shared(expert_down_##format, kGemmShared);     \
  allow_shared(matmul_##format##_bf16, kGemmShared);   \
  allow_shared(matmul_##format##_f32, kGemmShared);

inline void allow_shared_fp8() {
  GREGALE_ALLOW(fp8_rows)
  GREGALE_ALLOW(fp8_blocks)
  GREGALE_ALLOW(fp8_bf16)
  GREGALE_ALLOW(mxfp8_bf16)
}

#define GREGALE_OF_FORMAT(format, prefix, suffix)          \
  ((format) == Fp8::kRows     ? prefix##_fp8_rows##suffix  \
   : (format) == Fp8::kBlocks ? prefix##_fp8_blocks##suffix \
   : (format) == Fp8::kBf16   ? prefix##_fp8_bf16##suffix  \
                              : prefix##_mxfp8_bf16##suffix)

// A quantised weight [E, N, K] in tiles. Random codes; scales of 128 x 128 blocks, or exponents of 32
// columns. intermediate > 0: gate and up, N = 2 I.
struct Fp8Weight {
  int experts, n, k, intermediate;
  bool mx;
  int tiles_n = ceil_div(intermediate > 0 ? 2 * ceil_div(intermediate, 64) * 64 : n, kTileRows);
  size_t tiles = static_cast<size_t>(experts) * tiles_n * code_tiles(k);
  Buffer<char> codes{static_cast<size_t>(experts) * n * k};  // row-major
  int columns = mx ? ceil_div(k, kMxColumns) : ceil_div(k, kCodeColumns);
  // Grid rows: of each matrix (gate and up are two) blocks of 128 rows, or every row.
  std::vector<int> grid_rows = rows_of_grid();
  Buffer<float> scales{mx ? 1 : static_cast<size_t>(grid_rows.back() + 1) * columns};
  Buffer<uint8_t> exponents{mx ? static_cast<size_t>(experts) * n * columns : 1};
  Buffer<int> grid{grid_rows.size()};
  Buffer<char> tiled{tiles * kTileBytes};
  Buffer<char> tiled_scales{tiles * (mx ? kMxTileBytes : kTileScales * sizeof(float))};

  std::vector<int> rows_of_grid() const {
    std::vector<int> rows;
    const int part = intermediate > 0 ? intermediate : n;
    int first = 0;
    for (int p = 0; p < experts * n / part; p++) {
      for (int i = 0; i < part; i++) rows.push_back(mx ? first + i : first + i / 128);
      first = rows.back() + 1;
    }
    return rows;
  }

  void tile() const {
    grid.upload(grid_rows);
    const dim3 blocks(code_tiles(k), tiles_n, experts);
    if (intermediate > 0) {
      const size_t half = static_cast<size_t>(intermediate) * k;
      tile_gate_up_codes_fp8<<<blocks, 256>>>(tiled.get(), codes.get(), codes.get() + half,
                                              2 * half, intermediate, k);
    } else {
      tile_codes_fp8<<<blocks, 256>>>(tiled.get(), codes.get(), n, k);
    }
    if (mx) {
      tile_exponents_mxfp8<<<blocks, 256>>>(reinterpret_cast<uint8_t*>(tiled_scales.get()),
                                            exponents.get(), grid.get(), n, intermediate, columns);
    } else {
      tile_scales_fp8<<<blocks, 256>>>(reinterpret_cast<float*>(tiled_scales.get()), scales.get(),
                                       grid.get(), n, intermediate, columns, kCodeColumns);
    }
    CUDA_CHECK(cudaGetLastError());
  }
};

// Tokens of a GEMM: codes and scales, or bf16.
struct Fp8Tokens {
  int rows, k;  // padded rows
  Buffer<char> codes{static_cast<size_t>(rows + 16) * code_tiles(k) * kRowBytes};
  Buffer<float> scales{static_cast<size_t>(rows + 16) * code_tiles(k)};
};

// A MoE layer: plan and bf16 gather of MoeLayer, with quantised products.
struct Fp8Moe {
  Fp8 format;
  int tokens, experts, slots, hidden, intermediate;
  int pairs = tokens * slots;
  int most = most_rows(format);
  int capacity = max_padded_rows(pairs, experts, most);
  int hidden_tiles = ceil_div(hidden, kTileK);
  int inner_tiles = ceil_div(intermediate, kTileK);
  Buffer<GroupPlan> plan{(plan_bytes(experts) + 15) / 16};
  Buffer<int> pair_row{static_cast<size_t>(pairs)};
  Buffer<int> row_pair{static_cast<size_t>(capacity)};
  Buffer<bf16> x_tiles{static_cast<size_t>(capacity) * hidden_tiles * kTileK};
  Buffer<bf16> inner{static_cast<size_t>(capacity) * inner_tiles * kTileK};
  Buffer<float> rows{quantizes(format) ? 1 : static_cast<size_t>(capacity) * hidden};
  Buffer<bf16> bf16_rows{quantizes(format) ? static_cast<size_t>(capacity) * hidden : 1};
  Fp8Tokens x_codes{capacity, hidden};
  Fp8Tokens inner_codes{capacity, intermediate};

  void make_plan(const int* expert_ids) const {
    expert_plan_i32<<<experts, 1024, 132 * experts>>>(plan.get(), pair_row.get(), row_pair.get(),
                                                      expert_ids, pairs, experts, most);
  }
  void gather(const bf16* x) const {
    if (quantizes(format)) {
      const auto kernel =
          hidden <= kNarrowColumns ? quantize_gather_fp8_narrow : quantize_gather_fp8;
      kernel<<<capacity, 256>>>(x_codes.codes.get(), x_codes.scales.get(), x, plan.get(),
                                row_pair.get(), experts, slots, hidden, recipe_of(format), 1.0f,
                                nullptr);
    } else {
      const dim3 grid(ceil_div(capacity, 8), ceil_div(hidden_tiles, 8));
      expert_gather_bf16<<<grid, 256>>>(x_tiles.get(), x, plan.get(), row_pair.get(), experts,
                                        slots, hidden);
    }
  }
  void gate_up(const Fp8Weight& w) const {
    const char* from = quantizes(format) ? x_codes.codes.get() : bytes_of(x_tiles.get());
    GREGALE_OF_FORMAT(format, expert_gate_up, )<<<multiprocessors(), 384, kGemmShared>>>(
        inner.get(), w.tiled.get(), w.tiled_scales.get(), from, x_codes.scales.get(), plan.get(),
        experts, inner_tiles, code_tiles(hidden),
        quantizes(format) ? code_tiles(hidden) : hidden_tiles);
  }
  void quantize_inner() const {
    if (quantizes(format)) {
      quantize_tiles_fp8<<<capacity, 256>>>(inner_codes.codes.get(), inner_codes.scales.get(),
                                            inner.get(), plan.get(), row_pair.get(), experts,
                                            inner_tiles, recipe_of(format), 1.0f, nullptr);
    }
  }
  void down(const Fp8Weight& w) const {
    const char* from = quantizes(format) ? inner_codes.codes.get() : bytes_of(inner.get());
    const auto launch = [&](auto* kernel, auto* out) {
      kernel<<<multiprocessors(), 384, kGemmShared>>>(
          out, w.tiled.get(), w.tiled_scales.get(), from, inner_codes.scales.get(), plan.get(),
          experts, ceil_div(hidden, kTileRows), code_tiles(intermediate),
          quantizes(format) ? code_tiles(intermediate) : inner_tiles, hidden);
    };
    if (quantizes(format)) {
      launch(format == Fp8::kRows ? expert_down_fp8_rows : expert_down_fp8_blocks, bf16_rows.get());
    } else {
      launch(format == Fp8::kBf16 ? expert_down_fp8_bf16 : expert_down_mxfp8_bf16, rows.get());
    }
  }
  void combine(bf16* out, const float* weights) const {
    if (quantizes(format)) {
      expert_combine_bf16_of_bf16<<<tokens, 256>>>(out, bf16_rows.get(), pair_row.get(), weights,
                                                   slots, hidden);
    } else {
      expert_combine_bf16<<<tokens, 256>>>(out, rows.get(), pair_row.get(), weights, slots, hidden);
    }
  }
  // What down gave, in fp32.
  std::vector<float> down_rows() const {
    const std::vector<bf16> small = bf16_rows.download();
    return quantizes(format) ? std::vector<float>(small.begin(), small.end()) : rows.download();
  }
};

// A projection.
struct Fp8Projection {
  Fp8 format;
  int rows, n, k;
  int n_tiles = ceil_div(n, kTileRows);
  int max_rows = choose_tile_rows(rows, n_tiles, most_rows(format));
  int capacity = max_padded_rows(rows, 1, max_rows);
  Buffer<bf16> tiles{static_cast<size_t>(capacity) * ceil_div(k, kTileK) * kTileK};
  Fp8Tokens codes{capacity, k};

  void tile(const bf16* x) const {
    if (quantizes(format)) {
      const auto kernel = k <= kNarrowColumns ? quantize_rows_fp8_narrow : quantize_rows_fp8;
      kernel<<<capacity, 256>>>(codes.codes.get(), codes.scales.get(), x, rows, k, max_rows,
                                recipe_of(format), 1.0f, nullptr);
    } else {
      const dim3 grid(ceil_div(capacity, 8), ceil_div(ceil_div(k, kTileK), 8));
      tile_rows_bf16<<<grid, 256>>>(tiles.get(), x, rows, k, max_rows);
    }
  }
  template <class Out>
  void multiply(Out* out, const Fp8Weight& w) const {
    const char* from = quantizes(format) ? codes.codes.get() : bytes_of(tiles.get());
    const int token_tiles = quantizes(format) ? code_tiles(k) : ceil_div(k, kTileK);
    if constexpr (sizeof(Out) == 2) {
      GREGALE_OF_FORMAT(format, matmul, _bf16)<<<multiprocessors(), 384, kGemmShared>>>(
          out, w.tiled.get(), w.tiled_scales.get(), from, codes.scales.get(), rows, max_rows,
          n_tiles, code_tiles(k), token_tiles, n);
    } else {
      GREGALE_OF_FORMAT(format, matmul, _f32)<<<multiprocessors(), 384, kGemmShared>>>(
          out, w.tiled.get(), w.tiled_scales.get(), from, codes.scales.get(), rows, max_rows,
          n_tiles, code_tiles(k), token_tiles, n);
    }
  }
};
