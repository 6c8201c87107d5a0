// The decode step as plain loops on the GPU in fp32, to check the kernels by: weights and cache are
// read element by element through the layout's own functions.
#pragma once

#include <cuda_bf16.h>

#include "common.cuh"
#include "decode_api.cuh"
#include "kv_layout.cuh"

// Uniform in [-1, 1), a function of (seed, index).
__host__ __device__ inline float uniform(uint64_t seed, uint64_t index) {
  uint64_t z = seed * 0x9E3779B97F4A7C15ull + index * 0xBF58476D1CE4E5B9ull + 0x94D049BB133111EBull;
  z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9ull;
  z = (z ^ (z >> 27)) * 0x94D049BB133111EBull;
  z ^= z >> 31;
  return static_cast<float>(static_cast<int32_t>(z >> 32)) * (1.0f / 2147483648.0f);
}

__global__ void fill_bf16(Bf16* to, size_t count, uint64_t seed, float center, float spread) {
  for (size_t i = blockIdx.x * static_cast<size_t>(blockDim.x) + threadIdx.x; i < count;
       i += static_cast<size_t>(gridDim.x) * blockDim.x) {
    to[i] = __float2bfloat16(center + spread * uniform(seed, i));
  }
}

__global__ void fill_f32(float* to, size_t count, uint64_t seed, float spread) {
  for (size_t i = blockIdx.x * static_cast<size_t>(blockDim.x) + threadIdx.x; i < count;
       i += static_cast<size_t>(gridDim.x) * blockDim.x) {
    to[i] = spread * uniform(seed, i);
  }
}

// Grid T, block 256.
__global__ void reference_norm(float* out, const float* x, const Bf16* gain, float eps, int width) {
  const float* row = x + static_cast<size_t>(blockIdx.x) * width;
  float sum = 0.0f;
  for (int i = threadIdx.x; i < width; i += blockDim.x) {
    sum += row[i] * row[i];
  }
  const float scale = rsqrtf(block_sum(sum) / width + eps);
  for (int i = threadIdx.x; i < width; i += blockDim.x) {
    out[static_cast<size_t>(blockIdx.x) * width + i] = row[i] * scale * __bfloat162float(gain[i]);
  }
}

// Random codes of every value but NaN, and their scales: fp32 of eight rows of a tile, or exponents
// of 32 columns. The values' root mean square is about 1 / sqrt(k).
__global__ void fill_codes(uint8_t* to, size_t count, uint64_t seed) {
  for (size_t i = blockIdx.x * static_cast<size_t>(blockDim.x) + threadIdx.x; i < count;
       i += static_cast<size_t>(gridDim.x) * blockDim.x) {
    const uint8_t code = static_cast<uint8_t>((uniform(seed, i) + 1.0f) * 127.999f);
    to[i] = (code & 0x7F) == 0x7F ? code - 1 : code;
  }
}

__global__ void fill_scales(float* to, size_t count, uint64_t seed, float center) {
  for (size_t i = blockIdx.x * static_cast<size_t>(blockDim.x) + threadIdx.x; i < count;
       i += static_cast<size_t>(gridDim.x) * blockDim.x) {
    to[i] = center * (1.0f + 0.5f * uniform(seed, i));
  }
}

__global__ void fill_exponents(uint8_t* to, size_t count, uint64_t seed, int center) {
  for (size_t i = blockIdx.x * static_cast<size_t>(blockDim.x) + threadIdx.x; i < count;
       i += static_cast<size_t>(gridDim.x) * blockDim.x) {
    to[i] = center + static_cast<int>(2.0f * uniform(seed, i));
  }
}

// Columns from `width` of an expert's last tile on, which padding makes zero.
__global__ void clear_columns(char* tiles, size_t count, int k_tiles, int width) {
  for (size_t tile = blockIdx.x; tile < count; tile += gridDim.x) {
    for (int i = threadIdx.x; tile % k_tiles == k_tiles - 1 && i < kTileBytes; i += blockDim.x) {
      if (i % kCodeColumns >= width) {
        tiles[tile * kTileBytes + swizzled_code(i / kCodeColumns, i % kCodeColumns)] = 0;
      }
    }
  }
}

__device__ inline float code_value(uint8_t code) {
  const int exponent = code >> 3 & 15;
  const float mantissa = (code & 7) / 8.0f;
  const float value = exponent == 0 ? ldexpf(mantissa, -6) : ldexpf(1.0f + mantissa, exponent - 7);
  return code & 0x80 ? -value : value;
}

// Element (row, k) of expert `expert` of a tiled weight.
__device__ inline float weight_value(const Weight& w, Format format, int expert, int row, int k,
                                     int n_tiles, int width) {
  const int columns = format == Format::kBf16 ? kTileK : kCodeColumns;
  const size_t tile =
      (static_cast<size_t>(expert) * n_tiles + row / kTileRows) * ceil_div(width, columns) +
      k / columns;
  const char* at = w.tiles + tile * kTileBytes;
  row %= kTileRows;
  k %= columns;
  if (format == Format::kBf16) {
    return __bfloat162float(reinterpret_cast<const Bf16*>(at)[swizzled_element(row, k)]);
  }
  const float value = code_value(static_cast<uint8_t>(at[swizzled_code(row, k)]));
  if (format == Format::kFp8) {
    return value * reinterpret_cast<const float*>(w.scales)[tile * kTileScales + row / kScaleRows];
  }
  const uint8_t exponent = w.scales[(tile * kTileRows + row) * 4 + k / kMxColumns];
  return ldexpf(value, exponent - 127);
}

// out[r, n] = sum over k of x[r, k] W[expert][row(n), k]; a warp an output. Grid (ceil(n / 8),
// rows), block 256. row_map 0: row n; 1: gate row n; 2: up row n. ids (null: expert 0, row r of x):
// the expert of pair r, whose x is row r / per_token of x, or row r where per_token is 0; -1 skips.
__global__ void reference_linear(float* out, const float* x, Weight weights, Format format, int n,
                                 int k, int weight_rows, int row_map, const int* ids, int per_token) {
  const int column = blockIdx.x * 8 + threadIdx.x / 32;
  const int r = blockIdx.y;
  const int lane = threadIdx.x % 32;
  const int expert = ids == nullptr ? 0 : ids[r];
  if (column >= n || expert < 0) {
    return;
  }
  const float* from = x + static_cast<size_t>(per_token > 0 ? r / per_token : r) * k;
  const int row = row_map == 0 ? column : row_map == 1 ? gate_row(column) : up_row(column);
  const int n_tiles = ceil_div(weight_rows, kTileRows);
  float sum = 0.0f;
  for (int i = lane; i < k; i += 32) {
    sum += from[i] * weight_value(weights, format, expert, row, i, n_tiles, k);
  }
  sum = warp_sum(sum);
  if (lane == 0) {
    out[static_cast<size_t>(r) * n + column] = sum;
  }
}

// logits[t, e] for a row-major router. Grid (E, T), block 32.
__global__ void reference_router(float* logits, const float* x, const Bf16* router, int width) {
  float sum = 0.0f;
  for (int i = threadIdx.x; i < width; i += 32) {
    sum += x[static_cast<size_t>(blockIdx.y) * width + i] *
           __bfloat162float(router[static_cast<size_t>(blockIdx.x) * width + i]);
  }
  sum = warp_sum(sum);
  if (threadIdx.x == 0) {
    logits[blockIdx.y * gridDim.x + blockIdx.x] = sum;
  }
}

// Turns q and k of [T, (H + 2G) d] in place. Grid (H + G, T), block d / 2.
__global__ void reference_rope(float* qkv, const float* table, const int* positions, int width,
                               int head_dim) {
  float* head = qkv + static_cast<size_t>(blockIdx.y) * width + blockIdx.x * head_dim;
  const float* angles = table + static_cast<size_t>(positions[blockIdx.y]) * head_dim;
  const int i = threadIdx.x;
  const int half = head_dim / 2;
  const float low = head[i];
  const float high = head[i + half];
  head[i] = low * angles[i] - high * angles[half + i];
  head[i + half] = high * angles[i] + low * angles[half + i];
}

// What lies in the cache at this step's slots: [T, G d] of keys and of values. Grid (G, T), block
// d.
__global__ void gather_cache(float* keys, float* values, const Bf16* key_cache,
                             const Bf16* value_cache, const int* slots, int block_size) {
  const int slot = slots[blockIdx.y];
  if (slot < 0) {
    return;
  }
  const size_t at = kv_element(slot / block_size, blockIdx.x, slot % block_size, threadIdx.x,
                               gridDim.x, block_size, blockDim.x);
  const size_t to =
      (static_cast<size_t>(blockIdx.y) * gridDim.x + blockIdx.x) * blockDim.x + threadIdx.x;
  keys[to] = __bfloat162float(key_cache[at]);
  values[to] = __bfloat162float(value_cache[at]);
}

// Grid (H, T), block 128, shared memory 4 * longest context.
__global__ void reference_attention(float* out, const Bf16* queries, const Bf16* keys,
                                    const Bf16* values, const int* lens, const int* slots,
                                    const int* tables, int max_blocks, int heads, int kv_heads,
                                    int head_dim, int block_size, int window) {
  extern __shared__ float weights[];
  const int head = blockIdx.x;
  const int token = blockIdx.y;
  const int kv_head = head / (heads / kv_heads);
  const int len = slots[token] < 0 ? 0 : lens[token];
  const int first = window > 0 ? max(0, len - window) : 0;
  const Bf16* query = queries + (static_cast<size_t>(token) * heads + head) * head_dim;
  const int* table = tables + static_cast<size_t>(token) * max_blocks;
  for (int i = first + threadIdx.x; i < len; i += blockDim.x) {
    float score = 0.0f;
    for (int c = 0; c < head_dim; c++) {
      score += __bfloat162float(query[c]) *
               __bfloat162float(keys[kv_element(table[i / block_size], kv_head, i % block_size, c,
                                                kv_heads, block_size, head_dim)]);
    }
    weights[i] = score * rsqrtf(static_cast<float>(head_dim));
  }
  __syncthreads();
  float largest = -INFINITY;
  for (int i = first; i < len; i++) {
    largest = fmaxf(largest, weights[i]);
  }
  for (int c = threadIdx.x; c < head_dim; c += blockDim.x) {
    float sum = 0.0f;
    float total = 0.0f;
    for (int i = first; i < len; i++) {
      const float w = expf(weights[i] - largest);
      total += w;
      sum += w * __bfloat162float(values[kv_element(table[i / block_size], kv_head, i % block_size,
                                                    c, kv_heads, block_size, head_dim)]);
    }
    out[(static_cast<size_t>(token) * heads + head) * head_dim + c] = len > 0 ? sum / total : 0.0f;
  }
}

// A stream of 16-byte reads: the ceiling of what any kernel reads.
__global__ void __launch_bounds__(512)
    read_stream(uint32_t* sink, const uint4* from, size_t count) {
  const size_t step = static_cast<size_t>(gridDim.x) * blockDim.x;
  uint32_t bits = 0;
  size_t i = blockIdx.x * static_cast<size_t>(blockDim.x) + threadIdx.x;
  for (; i + 7 * step < count; i += 8 * step) {
    uint4 v[8];
#pragma unroll
    for (int q = 0; q < 8; q++) {
      v[q] = __ldcs(from + i + q * step);
    }
#pragma unroll
    for (int q = 0; q < 8; q++) {
      bits ^= v[q].x ^ v[q].y ^ v[q].z ^ v[q].w;
    }
  }
  if (bits == 0x12345678u) {
    sink[threadIdx.x] = bits;
  }
}
