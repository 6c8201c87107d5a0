// A Mixtral layer's decode step as launches of the exported kernels: what a launcher in the
// application does, in C++. Used by decode_bench.cu for checks and timing, and by
// decode_experts_library.cu.
#pragma once

#include <algorithm>
#include <cstdio>
#include <cstdlib>

#include "decode_api.cuh"
#include "kv_layout.cuh"

#define CHECK(call)                                                                       \
  do {                                                                                    \
    const cudaError_t error = (call);                                                     \
    if (error != cudaSuccess) {                                                           \
      std::fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, cudaGetErrorString(error)); \
      std::exit(1);                                                                       \
    }                                                                                     \
  } while (0)

struct Shape {
  int hidden, heads, kv_heads, head_dim, experts, per_token, intermediate, vocabulary;
  int window, block_size;
  Format format = Format::kBf16;

  int qkv_width() const { return (heads + 2 * kv_heads) * head_dim; }
  int context_width() const { return heads * head_dim; }
  // Of a weight's tile, and such tiles along K.
  int tile_columns() const { return format == Format::kBf16 ? kTileK : kCodeColumns; }
  int weight_tiles(int k) const { return ceil_div(k, tile_columns()); }
};

struct LayerWeights {
  Weight qkv, output, gate_up, down;
  Bf16 *router, *input_norm, *post_norm;
  float *input_gain, *post_gain;  // the norms in fp32
  Bf16 *keys, *values;
};

// Arrays of a step. Metadata is written before the step.
struct StepArrays {
  int *positions, *slots, *context_lens, *block_tables;
  int max_blocks;
  float* rope_table;
  float* residual;  // [T, D]
  Bf16* queries;    // [T, H d]
  Bf16* context;    // [T, H d] rows or tile
  float* attention_parts;
  int* counters;
  int* expert_ids;        // [T, K]
  float* expert_weights;  // [T, K]
  Bf16* h;                // [T, K, I] or token tiles
  Bf16* normed;           // [T, D]
  Bf16* tiles;            // token tiles of D columns
  GroupPlan* plan;
  int* rows_of;
  float* parts;
  float* logits;
};

struct Tuning {
  int splits;       // of attention, at most
  int min_run;      // positions of a split, at least
  int down_pieces;  // of K in down, above 8 tokens
  int carve_out;    // percent of shared memory, for the kernels of at most 8 tokens
};

// What the application takes.
inline Tuning tuning_for(int tokens) {
  Tuning t;
  t.splits = tokens <= 8 ? 16 : 4;
  t.min_run = tokens <= 4 ? 128 : tokens <= 8 ? 256 : tokens <= 16 ? 512 : 1024;
  t.down_pieces = tokens < 128 ? 2 : 1;
  t.carve_out = 57;
  return t;
}

constexpr float kEps = 1e-5f;

class Launcher {
 public:
  Launcher(cudaStream_t stream, int processors) : stream_(stream), processors_(processors) {}

  bool dependent = false;      // programmatic dependent launch
  const void* only = nullptr;  // if set, other kernels are left out

  template <class... Parameters, class... Arguments>
  void operator()(void (*kernel)(Parameters...), dim3 grid, int block, int shared,
                  Arguments... arguments) {
    if (only != nullptr && only != reinterpret_cast<const void*>(kernel)) return;
    cudaLaunchConfig_t config = {};
    config.gridDim = grid;
    config.blockDim = dim3(block);
    config.dynamicSmemBytes = shared;
    config.stream = stream_;
    cudaLaunchAttribute attribute;
    attribute.id = cudaLaunchAttributeProgrammaticStreamSerialization;
    attribute.val.programmaticStreamSerializationAllowed = 1;
    config.attrs = &attribute;
    config.numAttrs = dependent && !first ? 1 : 0;
    first = false;
    CHECK(cudaLaunchKernelEx(&config, kernel, static_cast<Parameters>(arguments)...));
  }

  bool first = true;  // of a step: waits for everything before it
  int processors() const { return processors_; }
  cudaStream_t stream() const { return stream_; }

 private:
  cudaStream_t stream_;
  int processors_;
};

template <class Kernel>
void allow(Kernel* kernel, int shared, int carve_out) {
  CHECK(cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, shared));
  if (carve_out >= 0) {
    CHECK(cudaFuncSetAttribute(kernel, cudaFuncAttributePreferredSharedMemoryCarveout, carve_out));
  }
}

inline int token_bytes(const Shape& s, int width) {
  return 2 * s.weight_tiles(width) * s.tile_columns() + 64;
}

constexpr int kFewThreads = 512;
constexpr int kMaxGemmShared = 231424;

// Eight stages where the widest tile allows it; no more than that, so that the small kernels around
// find room beside the GEMM.
inline int gemm_shared(const Shape& s, int tokens) {
  const int rows = ceil_div(tokens, kTileRowStep) * kTileRowStep;
  if (s.format == Format::kBf16) {
    const int n = std::min(64, rows);
    return 2048 + 8 * (kTileBytes + n * kRowBytes) + n * kRowBytes;
  }
  const int n = std::min(64, rows);
  const int stage = kTileBytes + 2 * n * kRowBytes + 1024;
  const int head = 2048 + n * kRowBytes;
  return head + std::min(8, (kMaxGemmShared - head) / stage) * stage;
}

inline void prepare(const Shape& s, int carve_out) {
  const int tokens = 8 * token_bytes(s, std::max(s.hidden, s.context_width()));
  allow(decode_qkv_bf16_d128, tokens, carve_out);
  allow(decode_qkv_bf16_d64, tokens, carve_out);
  allow(decode_add_linear_bf16, tokens, carve_out);
  allow(decode_lm_head_bf16, tokens, carve_out);
  allow(decode_gate_up_bf16, tokens, carve_out);
  allow(decode_down_bf16, 0, carve_out);
  allow(decode_attention_bf16_d128, 0, carve_out);
  allow(decode_attention_bf16_d64, 0, carve_out);
#define GREGALE_ALLOW(format)                               \
  allow(decode_qkv_##format##_d128, tokens, carve_out);     \
  allow(decode_qkv_##format##_d64, tokens, carve_out);      \
  allow(decode_add_linear_##format, tokens, carve_out);     \
  allow(decode_gate_up_##format, tokens, carve_out);        \
  allow(decode_down_##format, 0, carve_out);                \
  allow(decode_gemm_parts_##format, kMaxGemmShared, -1);    \
  allow(decode_gemm_swiglu_##format, kMaxGemmShared, -1);
  GREGALE_ALLOW(fp8)
  GREGALE_ALLOW(mxfp8)
  allow(decode_gemm_parts_bf16, kMaxGemmShared, -1);
  allow(decode_gemm_swiglu_bf16, kMaxGemmShared, -1);
}

// Stages of one layer. Each reads and writes the arrays of the step.
class LayerStep {
 public:
  LayerStep(const Shape& shape, const Tuning& tuning, Launcher& launch, int tokens)
      : s_(shape), tuning_(tuning), launch_(launch), tokens_(tokens), few_(tokens <= 8) {
    tile_rows_ = ceil_div(tokens, kTileRowStep) * kTileRowStep;
  }

  void qkv(const LayerWeights& w, const StepArrays& a) {
    if (few_) {
      const int shared = tokens_ * token_bytes(s_, s_.hidden);
      if (s_.format == Format::kBf16) {
        launch_(s_.head_dim == 128 ? decode_qkv_bf16_d128 : decode_qkv_bf16_d64,
                launch_.processors(), kFewThreads, shared, a.queries, w.keys, w.values, a.residual,
                w.input_norm, w.qkv.tiles, a.rope_table, a.positions, a.slots, kEps,
                s_.context_width(), tokens_, s_.hidden, s_.heads, s_.kv_heads, s_.block_size);
      } else {
        const bool wide = s_.head_dim == 128;
        launch_(mx() ? wide ? decode_qkv_mxfp8_d128 : decode_qkv_mxfp8_d64
                : wide ? decode_qkv_fp8_d128
                       : decode_qkv_fp8_d64,
                launch_.processors(), kFewThreads, shared, a.queries, w.keys, w.values, a.residual,
                w.input_norm, w.qkv.tiles, w.qkv.scales, a.rope_table, a.positions, a.slots, kEps,
                s_.context_width(), tokens_, s_.hidden, s_.heads, s_.kv_heads, s_.block_size);
      }
      return;
    }
    launch_(decode_norm_tiles_bf16, tokens_, 256, 0, a.tiles, a.residual, nullptr, w.input_gain,
            kEps, s_.hidden, tile_rows_);
    const int steps = steps_for(s_.qkv_width(), s_.hidden);
    projection(a.parts, w.qkv, a.tiles, s_.qkv_width(), s_.hidden, steps);
    launch_(decode_qkv_parts_bf16, dim3(ceil_div(s_.qkv_width() / 8, 256), tokens_), 256, 0,
            a.queries, w.keys, w.values, a.parts, a.rope_table, a.positions, a.slots,
            s_.context_width(), tokens_, s_.heads, s_.kv_heads, s_.head_dim, s_.block_size,
            s_.weight_tiles(s_.hidden), steps, 0);
  }

  void attention(const LayerWeights& w, const StepArrays& a) {
    launch_(s_.head_dim == 128 ? decode_attention_bf16_d128 : decode_attention_bf16_d64,
            dim3(tuning_.splits, s_.kv_heads, tokens_), 128, 0, a.context, a.attention_parts,
            a.counters, a.queries, w.keys, w.values, a.context_lens, a.slots, a.block_tables,
            1.0f / sqrtf(static_cast<float>(s_.head_dim)), a.max_blocks, s_.context_width(),
            s_.heads, s_.kv_heads, s_.block_size, s_.window, tuning_.min_run,
            few_ ? 0 : tile_rows_);
  }

  void output(const LayerWeights& w, const StepArrays& a) {
    if (few_) {
      const int shared = tokens_ * token_bytes(s_, s_.context_width());
      if (s_.format == Format::kBf16) {
        launch_(decode_add_linear_bf16, launch_.processors(), kFewThreads, shared, a.residual,
                a.context, w.output.tiles, tokens_, s_.hidden, s_.context_width());
      } else {
        launch_(mx() ? decode_add_linear_mxfp8 : decode_add_linear_fp8, launch_.processors(),
                kFewThreads, shared, a.residual, a.context, w.output.tiles, w.output.scales,
                tokens_, s_.hidden, s_.context_width());
      }
      return;
    }
    const int steps = steps_for(s_.hidden, s_.context_width());
    projection(a.parts, w.output, a.context, s_.hidden, s_.context_width(), steps);
    launch_(decode_add_parts_f32, dim3(ceil_div(s_.hidden, 1024), tokens_), 256, 0, a.residual,
            a.parts, tokens_, s_.hidden, s_.weight_tiles(s_.context_width()), steps);
  }

  void gate_up(const LayerWeights& w, const StepArrays& a) {
    if (few_) {
      const int shared = tokens_ * token_bytes(s_, s_.hidden);
      if (s_.format == Format::kBf16) {
        launch_(decode_gate_up_bf16, launch_.processors(), kFewThreads, shared, a.h, a.expert_ids,
                a.expert_weights, a.residual, w.post_norm, w.router, w.gate_up.tiles, a.slots, kEps,
                tokens_, s_.hidden, s_.intermediate, s_.experts, s_.per_token, 0, s_.experts);
      } else {
        launch_(mx() ? decode_gate_up_mxfp8 : decode_gate_up_fp8, launch_.processors(), kFewThreads,
                shared, a.h, a.expert_ids, a.expert_weights, a.residual, w.post_norm, w.router,
                w.gate_up.tiles, w.gate_up.scales, a.slots, kEps, tokens_, s_.hidden,
                s_.intermediate, s_.experts, s_.per_token, 0, s_.experts);
      }
      return;
    }
    launch_(decode_route_bf16, std::min(tokens_, 2 * launch_.processors()), 256, 2 * s_.hidden,
            a.normed, a.expert_ids, a.expert_weights, a.residual, w.post_gain, w.router, a.slots,
            kEps, tokens_, s_.hidden, s_.experts, s_.per_token);
    launch_(decode_plan_tiles_bf16, tokens_, 512, 0, a.tiles, a.plan, a.rows_of, a.normed,
            a.expert_ids, tokens_, s_.hidden, s_.per_token, 0, s_.experts);
    if (s_.format == Format::kBf16) {
      launch_(decode_gemm_swiglu_bf16, launch_.processors(), 320, gemm_shared(s_, tokens_), a.h,
              w.gate_up.tiles, a.tiles, a.plan, s_.experts, s_.intermediate / kTileK,
              s_.hidden / kTileK, gemm_shared(s_, tokens_));
    } else {
      launch_(mx() ? decode_gemm_swiglu_mxfp8 : decode_gemm_swiglu_fp8, launch_.processors(), 384,
              gemm_shared(s_, tokens_), a.h, w.gate_up.tiles, w.gate_up.scales, a.tiles, a.plan,
              s_.experts, s_.intermediate / kTileK, s_.weight_tiles(s_.hidden),
              s_.hidden / kTileK, gemm_shared(s_, tokens_));
    }
  }

  void down(const LayerWeights& w, const StepArrays& a) {
    if (few_) {
      if (s_.format == Format::kBf16) {
        launch_(decode_down_bf16, launch_.processors(), kFewThreads, 0, a.residual, a.h,
                a.expert_ids, w.down.tiles, tokens_, s_.hidden, s_.intermediate, s_.per_token, 0,
                s_.experts);
      } else {
        launch_(mx() ? decode_down_mxfp8 : decode_down_fp8, launch_.processors(), kFewThreads, 0,
                a.residual, a.h, a.expert_ids, w.down.tiles, w.down.scales, tokens_, s_.hidden,
                s_.intermediate, s_.per_token, 0, s_.experts);
      }
      return;
    }
    const int k_tiles = s_.weight_tiles(s_.intermediate);
    const int steps = k_tiles % tuning_.down_pieces == 0 ? k_tiles / tuning_.down_pieces : k_tiles;
    gemm(a.parts, w.down, a.h, a.plan, s_.experts, 0, 0, s_.hidden, s_.intermediate, steps,
         part_rows());
    launch_(decode_combine_parts_f32, dim3(ceil_div(s_.hidden, 1024), tokens_), 256, 0, a.residual,
            a.parts, a.rows_of, a.expert_weights, s_.hidden, s_.per_token, part_rows(), k_tiles,
            steps);
  }

  void layer(const LayerWeights& w, const StepArrays& a) {
    qkv(w, a);
    attention(w, a);
    output(w, a);
    gate_up(w, a);
    down(w, a);
  }

  // Never quantised.
  void lm_head(const LayerWeights& norm, const Bf16* weights, const StepArrays& a) {
    const char* tiled = reinterpret_cast<const char*>(weights);
    if (few_) {
      launch_(decode_lm_head_bf16, launch_.processors(), kFewThreads,
              tokens_ * (2 * s_.hidden + 64), a.logits, a.residual, nullptr, norm.input_norm, tiled, kEps,
              tokens_, s_.hidden, s_.vocabulary);
      return;
    }
    launch_(decode_norm_tiles_bf16, tokens_, 256, 0, a.tiles, a.residual, nullptr, norm.input_gain,
            kEps, s_.hidden, tile_rows_);
    Shape bf16 = s_;
    bf16.format = Format::kBf16;
    launch_(decode_gemm_parts_bf16, launch_.processors(), 320, gemm_shared(bf16, tokens_), a.logits,
            tiled, a.tiles, nullptr, 1, tile_rows_, tokens_, ceil_div(s_.vocabulary, kTileRows),
            s_.hidden / kTileK, s_.hidden / kTileK, tokens_, s_.vocabulary,
            gemm_shared(bf16, tokens_));
  }

  int part_rows() const {
    return max_padded_rows(tokens_ * s_.per_token, s_.experts, kMaxTileRows);
  }

 private:
  bool mx() const { return s_.format == Format::kMxFp8; }

  // One even piece a multiprocessor, never more than all of K.
  int steps_for(int n, int k) const {
    const int k_tiles = s_.weight_tiles(k);
    return std::min(k_tiles, ceil_div(ceil_div(n, kTileRows) * k_tiles, launch_.processors()));
  }

  void projection(float* parts, const Weight& weight, const Bf16* tile, int n, int k, int steps) {
    gemm(parts, weight, tile, nullptr, 1, tile_rows_, tokens_, n, k, steps, tokens_);
  }

  void gemm(float* parts, const Weight& weight, const Bf16* tokens, const GroupPlan* plan,
            int experts, int rows, int valid_rows, int n, int k, int steps, int part_rows) {
    const int shared = gemm_shared(s_, tokens_);
    if (s_.format == Format::kBf16) {
      launch_(decode_gemm_parts_bf16, launch_.processors(), 320, shared, parts, weight.tiles,
              tokens, plan, experts, rows, valid_rows, ceil_div(n, kTileRows), k / kTileK, steps,
              part_rows, n, shared);
    } else {
      launch_(mx() ? decode_gemm_parts_mxfp8 : decode_gemm_parts_fp8, launch_.processors(), 384,
              shared, parts, weight.tiles, weight.scales, tokens, plan, experts, rows, valid_rows,
              ceil_div(n, kTileRows), s_.weight_tiles(k), k / kTileK, steps, part_rows, n, shared);
    }
  }

  const Shape& s_;
  const Tuning& tuning_;
  Launcher& launch_;
  const int tokens_;
  const bool few_;
  int tile_rows_;
};
