// Keys and values of 16 positions of one KV head in a warp's registers, as decode's attention
// multiplies them, of a cache in bf16 or FP8.
#pragma once

#include "decode_tokens.cuh"
#include "kv_codes.cuh"
#include "kv_layout.cuh"

__device__ __forceinline__ uint32_t low_halves(uint32_t a, uint32_t b) {
  return __byte_perm(a, b, 0x5410);
}

__device__ __forceinline__ uint32_t high_halves(uint32_t a, uint32_t b) {
  return __byte_perm(a, b, 0x7632);
}

// A warp's share of 16 positions of one KV head, of a cache in bf16. Groups of a kind have the same
// functions: where a (block, kv head) lies, loads of keys and values, the scores of the queries, and
// the values weighed. What `out` has in product m and which column of the head that is, column_of
// tells.
template <int kHeadDim>
class Bf16Group {
 public:
  static constexpr int kProducts = kHeadDim / 16;
  static constexpr int kLoads = kHeadDim / 32;  // 16-byte loads that span a key, four lanes each
  static constexpr int kPanels = kHeadDim / kTileK;

  struct Cache {
    const char* keys;
    const char* values;
  };
  struct Query {
    uint4 of[kLoads];
  };

  // First of the columns that the lane has in products m and m + 1, m even.
  static __device__ __forceinline__ int column_of(int m, int lane) {
    return m / 4 * kTileK + lane / 4 * 8 + m % 4 * 2;
  }

  static __device__ __forceinline__ void load_query(Query& query, const __nv_bfloat16* head,
                                                    bool exists, int lane) {
#pragma unroll
    for (int i = 0; i < kLoads; i++) {
      query.of[i] =
          exists ? load_written(head + (4 * i + lane % 4) * 8) : make_uint4(0, 0, 0, 0);
    }
  }

  // run: of the (block, kv head); first: the group's first token in the block.
  __device__ __forceinline__ void find(size_t run, int first, int block_size) {
    offset_ = run * kv_block_elements(block_size, kHeadDim) * 2;
    first_ = first;
    block_size_ = block_size;
  }

  // Positions l / 4 and l / 4 + 8, chunk 4 i + l % 4.
  __device__ __forceinline__ void load_keys(const Cache& cache, int lane) {
#pragma unroll
    for (int half = 0; half < 2; half++) {
      const int token = first_ + half * 8 + lane / 4;
#pragma unroll
      for (int i = 0; i < kLoads; i++) {
        const char* panel = cache.keys + offset_ + i / 2 * block_size_ * kRowBytes;
        key_[half][i] = load_written(panel + swizzled_bytes(token, i % 2 * 4 + lane % 4));
      }
    }
  }

  // Chunk l / 4 of the panel, positions 2 (l % 4) + {0, 1, 8, 9}. Positions from `valid` on become
  // zero: what lies there may be anything, and 0 * NaN is NaN.
  __device__ __forceinline__ void load_values(const Cache& cache, int valid, int lane) {
#pragma unroll
    for (int p = 0; p < kPanels; p++) {
#pragma unroll
      for (int j = 0; j < 4; j++) {
        const int position = lane % 4 * 2 + j % 2 + j / 2 * 8;
        const char* panel = cache.values + offset_ + p * block_size_ * kRowBytes;
        value_[p][j] = position < valid
                           ? load_written(panel + swizzled_bytes(first_ + position, lane / 4))
                           : make_uint4(0, 0, 0, 0);
      }
    }
  }

  __device__ __forceinline__ void score(float (&score)[2][4], const Query& query) const {
#pragma unroll
    for (int half = 0; half < 2; half++) {
#pragma unroll
      for (int i = 0; i < kLoads; i++) {
        const uint4 k = key_[half][i];
        mma_bf16(score[half], query.of[i].x, 0, query.of[i].y, 0, k.x, k.y);
        mma_bf16(score[half], query.of[i].z, 0, query.of[i].w, 0, k.z, k.w);
      }
    }
  }

  // What a weight is multiplied by before it meets its value, here and below.
  __device__ __forceinline__ float value_scale(int, int) const { return 1.0f; }

  __device__ __forceinline__ void weigh(float (&out)[kProducts][4],
                                        const uint32_t (&weight)[2]) const {
#pragma unroll
    for (int p = 0; p < kPanels; p++) {
      const uint4(&v)[4] = value_[p];
      const auto product = [&](int j, uint32_t a, uint32_t b, uint32_t c, uint32_t d) {
        mma_bf16(out[4 * p + j], low_halves(a, b), high_halves(a, b), low_halves(c, d),
                 high_halves(c, d), weight[0], weight[1]);
      };
      product(0, v[0].x, v[1].x, v[2].x, v[3].x);
      product(1, v[0].y, v[1].y, v[2].y, v[3].y);
      product(2, v[0].z, v[1].z, v[2].z, v[3].z);
      product(3, v[0].w, v[1].w, v[2].w, v[3].w);
    }
  }

 private:
  size_t offset_ = 0;  // bytes to the (block, kv head) run
  int first_ = 0;
  int block_size_ = 0;
  uint4 key_[2][kLoads];
  uint4 value_[kPanels][4];
};

// The same of a cache in FP8 (kv_codes.cuh). Codes become bf16 in registers; scales of keys go to
// scores, those of values to weights, in fp32.
template <int kHeadDim>
class Fp8Group {
 public:
  static constexpr int kProducts = kHeadDim / 16;
  static constexpr int kLoads = kHeadDim / 64;  // of 16 codes each, four lanes a key
  static_assert(kHeadDim == 128, "eight lanes of 16 codes span a value");

  struct Cache {
    const char* keys;
    const char* values;
    const float* key_scales;
    const float* value_scales;
  };
  struct Query {
    uint32_t of[kLoads][4][2];  // columns 0 and 2, 1 and 3 of four
  };

  static __device__ __forceinline__ int column_of(int m, int lane) {
    return lane / 4 * 16 + m * 2;
  }

  static __device__ __forceinline__ void load_query(Query& query, const __nv_bfloat16* head,
                                                    bool exists, int lane) {
#pragma unroll
    for (int i = 0; i < kLoads; i++) {
#pragma unroll
      for (int j = 0; j < 2; j++) {
        const uint4 q = exists ? load_written(head + (4 * i + lane % 4) * 16 + j * 8)
                               : make_uint4(0, 0, 0, 0);
        query.of[i][2 * j][0] = low_halves(q.x, q.y), query.of[i][2 * j][1] = high_halves(q.x, q.y);
        query.of[i][2 * j + 1][0] = low_halves(q.z, q.w);
        query.of[i][2 * j + 1][1] = high_halves(q.z, q.w);
      }
    }
  }

  __device__ __forceinline__ void find(size_t run, int first, int block_size) {
    token_ = static_cast<int>(run) * block_size + first;
  }

  __device__ __forceinline__ void load_keys(const Cache& cache, int lane) {
#pragma unroll
    for (int half = 0; half < 2; half++) {
#pragma unroll
      for (int i = 0; i < kLoads; i++) {
        key_[half][i] = load_written(cache.keys + static_cast<size_t>(token_ + half * 8 + lane / 4) * kHeadDim +
                                     (4 * i + lane % 4) * 16);
      }
      key_scale_[half] = load_pair(cache.key_scales + token_ + half * 8 + lane % 4 * 2);
    }
  }

  // Whatever lies behind a sequence's end is finite: codes here are never NaN, nor are scales.
  __device__ __forceinline__ void load_values(const Cache& cache, int, int lane) {
#pragma unroll
    for (int j = 0; j < 4; j++) {
      const int position = lane % 4 * 2 + j % 2 + j / 2 * 8;
      value_[j] = load_written(cache.values + static_cast<size_t>(token_ + position) * kHeadDim +
                               lane / 4 * 16);
    }
#pragma unroll
    for (int half = 0; half < 2; half++) {
      value_scale_[half] = load_pair(cache.value_scales + token_ + half * 8 + lane % 4 * 2);
    }
  }

  __device__ __forceinline__ void score(float (&score)[2][4], const Query& query) const {
#pragma unroll
    for (int half = 0; half < 2; half++) {
#pragma unroll
      for (int i = 0; i < kLoads; i++) {
        const uint32_t codes[4] = {key_[half][i].x, key_[half][i].y, key_[half][i].z,
                                   key_[half][i].w};
#pragma unroll
        for (int j = 0; j < 4; j++) {
          mma_bf16(score[half], query.of[i][j][0], 0, query.of[i][j][1], 0,
                   even_codes(codes[j], kCodeFactor), odd_codes(codes[j], kCodeFactor));
        }
      }
      score[half][0] *= key_scale_[half].x;
      score[half][1] *= key_scale_[half].y;
    }
  }

  __device__ __forceinline__ float value_scale(int half, int c) const {
    return c == 0 ? value_scale_[half].x : value_scale_[half].y;
  }

  // Words of two positions, four columns each, make two products: columns 0, 1 and columns 2, 3.
  __device__ __forceinline__ void weigh(float (&out)[kProducts][4],
                                        const uint32_t (&weight)[2]) const {
    const auto product = [&](int m, uint32_t a, uint32_t b, uint32_t c, uint32_t d) {
      const uint32_t first[2] = {low_halves(a, b), low_halves(c, d)};
      const uint32_t second[2] = {high_halves(a, b), high_halves(c, d)};
      mma_bf16(out[m], even_codes(first[0], kCodeFactor), odd_codes(first[0], kCodeFactor),
               even_codes(first[1], kCodeFactor), odd_codes(first[1], kCodeFactor), weight[0],
               weight[1]);
      mma_bf16(out[m + 1], even_codes(second[0], kCodeFactor), odd_codes(second[0], kCodeFactor),
               even_codes(second[1], kCodeFactor), odd_codes(second[1], kCodeFactor), weight[0],
               weight[1]);
    };
    product(0, value_[0].x, value_[1].x, value_[2].x, value_[3].x);
    product(2, value_[0].y, value_[1].y, value_[2].y, value_[3].y);
    product(4, value_[0].z, value_[1].z, value_[2].z, value_[3].z);
    product(6, value_[0].w, value_[1].w, value_[2].w, value_[3].w);
  }

 private:
  int token_ = 0;  // of all tokens of all (block, kv head) runs
  uint4 key_[2][kLoads];
  uint4 value_[4];
  float2 key_scale_[2];
  float2 value_scale_[2];
};
