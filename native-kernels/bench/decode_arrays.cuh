// Weights, inputs and scratch of one layer for the decode bench: random, or poisoned with NaN.
#pragma once

#include <cmath>
#include <cstdint>
#include <cstring>
#include <random>
#include <vector>

#include "decode_layer.cuh"
#include "decode_reference.cuh"

template <class T>
T* device(size_t count) {
  void* p = nullptr;
  CHECK(cudaMalloc(&p, std::max<size_t>(count, 16) * sizeof(T)));
  return static_cast<T*>(p);
}

template <class T>
std::vector<T> host(const T* from, size_t count) {
  std::vector<T> to(count);
  CHECK(cudaDeviceSynchronize());
  CHECK(cudaMemcpy(to.data(), from, count * sizeof(T), cudaMemcpyDeviceToHost));
  return to;
}

template <class T>
void upload(T* to, const std::vector<T>& from) {
  CHECK(cudaMemcpy(to, from.data(), from.size() * sizeof(T), cudaMemcpyHostToDevice));
}

inline void fill(Bf16* to, size_t count, uint64_t seed, float center, float spread) {
  fill_bf16<<<2048, 256>>>(to, count, seed, center, spread);
  CHECK(cudaGetLastError());
}

inline LayerWeights make_layer(const Shape& s, uint64_t seed, int blocks) {
  LayerWeights w;
  const auto matrix = [&](int experts, int n, int k) {
    const size_t tiles = static_cast<size_t>(experts) * ceil_div(n, kTileRows) * s.weight_tiles(k);
    Weight m;
    m.tiles = device<char>(tiles * kTileBytes);
    if (s.format == Format::kBf16) {
      fill(reinterpret_cast<Bf16*>(m.tiles), tiles * kTileElements, seed++, 0.0f, sqrtf(3.0f / k));
      return m;
    }
    CHECK(cudaMemset(m.tiles, 0, tiles * kTileBytes));
    fill_codes<<<2048, 256>>>(reinterpret_cast<uint8_t*>(m.tiles), tiles * kTileBytes, seed++);
    if (k % kCodeColumns != 0) {
      clear_columns<<<2048, 256>>>(m.tiles, tiles, s.weight_tiles(k), k % kCodeColumns);
    }
    constexpr float kMeanCode = 108.0f;
    if (s.format == Format::kFp8) {
      m.scales = device<char>(tiles * kTileScales * sizeof(float));
      fill_scales<<<512, 256>>>(reinterpret_cast<float*>(m.scales), kTileScales * tiles, seed++,
                                1.0f / (kMeanCode * sqrtf(k)));
    } else {
      m.scales = device<char>(tiles * kMxTileBytes);
      fill_exponents<<<512, 256>>>(reinterpret_cast<uint8_t*>(m.scales), tiles * kMxTileBytes,
                                   seed++, 127 - static_cast<int>(log2f(kMeanCode * sqrtf(k))));
    }
    CHECK(cudaGetLastError());
    return m;
  };
  w.qkv = matrix(1, s.qkv_width(), s.hidden);
  w.output = matrix(1, s.hidden, s.context_width());
  w.gate_up = matrix(s.experts, 2 * s.intermediate, s.hidden);
  w.down = matrix(s.experts, s.hidden, s.intermediate);
  w.router = device<Bf16>(s.experts * s.hidden);
  fill(w.router, s.experts * s.hidden, seed++, 0.0f, sqrtf(3.0f / s.hidden));
  w.input_norm = device<Bf16>(s.hidden);
  w.post_norm = device<Bf16>(s.hidden);
  fill(w.input_norm, s.hidden, seed++, 1.0f, 0.5f);
  fill(w.post_norm, s.hidden, seed++, 1.0f, 0.5f);
  const auto widened = [&](const Bf16* norm) {
    float* gain = device<float>(s.hidden);
    const std::vector<Bf16> values = host(norm, s.hidden);
    upload(gain, std::vector<float>(values.begin(), values.end()));
    return gain;
  };
  w.input_gain = widened(w.input_norm);
  w.post_gain = widened(w.post_norm);
  const size_t cache = blocks * s.kv_heads * kv_block_elements(s.block_size, s.head_dim);
  w.keys = device<Bf16>(cache);
  w.values = device<Bf16>(cache);
  fill(w.keys, cache, seed++, 0.0f, 1.7f);
  fill(w.values, cache, seed++, 0.0f, 1.7f);
  return w;
}

inline StepArrays make_arrays(const Shape& s, int tokens, int max_context, int max_splits) {
  StepArrays a;
  const int pairs = tokens * s.per_token;
  const int padded = max_padded_rows(pairs, s.experts, kMaxTileRows);
  const int tile_rows = ceil_div(tokens, kTileRowStep) * kTileRowStep;
  a.max_blocks = ceil_div(max_context, s.block_size);
  a.positions = device<int>(tokens);
  a.slots = device<int>(tokens);
  a.context_lens = device<int>(tokens);
  a.block_tables = device<int>(tokens * a.max_blocks);
  a.rope_table = device<float>(max_context * s.head_dim);
  a.residual = device<float>(tokens * s.hidden);
  a.queries = device<Bf16>(tokens * s.context_width());
  a.context = device<Bf16>(tile_rows * s.context_width());
  a.attention_parts =
      device<float>(static_cast<size_t>(tokens) * s.heads * max_splits * (s.head_dim + 2));
  a.counters = device<int>(tokens * s.kv_heads);
  CHECK(cudaMemset(a.counters, 0, tokens * s.kv_heads * sizeof(int)));
  a.expert_ids = device<int>(pairs);
  a.expert_weights = device<float>(pairs);
  a.h = device<Bf16>(static_cast<size_t>(padded) * s.intermediate);
  a.normed = device<Bf16>(tokens * s.hidden);
  a.tiles = device<Bf16>(static_cast<size_t>(padded + tile_rows) * s.hidden);
  a.plan = device<GroupPlan>(s.experts);
  a.rows_of = device<int>(pairs);
  a.parts = device<float>(8 * static_cast<size_t>(padded + tile_rows) *
                          std::max(s.hidden, s.qkv_width()));
  a.logits = device<float>(static_cast<size_t>(tokens) * s.vocabulary);
  std::vector<float> table(max_context * s.head_dim);
  for (int p = 0; p < max_context; p++) {
    for (int i = 0; i < s.head_dim / 2; i++) {
      const float angle = p * (1.0f / powf(1e6f, 2.0f * i / s.head_dim));
      table[p * s.head_dim + i] = cosf(angle);
      table[p * s.head_dim + s.head_dim / 2 + i] = sinf(angle);
    }
  }
  upload(a.rope_table, table);
  return a;
}

// Sequences of the given lengths over blocks drawn without repetition; padding[t]: slot -1.
inline void set_sequences(const Shape& s, const StepArrays& a, const std::vector<int>& lens,
                          const std::vector<bool>& padding, int blocks, std::mt19937& random) {
  const int tokens = lens.size();
  std::vector<int> order(blocks);
  for (int i = 0; i < blocks; i++) order[i] = i;
  std::shuffle(order.begin(), order.end(), random);
  std::vector<int> tables(tokens * a.max_blocks, 0), slots(tokens), positions(tokens);
  int next = 0;
  for (int t = 0; t < tokens; t++) {
    for (int b = 0; b < ceil_div(lens[t], s.block_size); b++) {
      tables[t * a.max_blocks + b] = order[next++];
    }
    positions[t] = lens[t] - 1;
    slots[t] = padding[t] ? -1
                          : tables[t * a.max_blocks + positions[t] / s.block_size] * s.block_size +
                                positions[t] % s.block_size;
  }
  upload(a.block_tables, tables);
  upload(a.slots, slots);
  upload(a.positions, positions);
  upload(a.context_lens, lens);
}
