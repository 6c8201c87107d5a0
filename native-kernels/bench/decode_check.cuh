// Each stage of the decode step against decode_reference.cuh, on the stage's own inputs, then the
// whole layer for equal bits. Every output is poisoned with NaN first.
#pragma once

#include <cmath>
#include <cstdint>
#include <cstring>
#include <random>
#include <vector>

#include "decode_arrays.cuh"
#include "decode_weights.cuh"

class Checks {
 public:
  int failed = 0;
  int done = 0;

  void that(bool ok, const char* name, const char* what, double value) {
    done++;
    if (!ok) {
      failed++;
      std::printf("FAILED %s: %s (%.3g)\n", name, what, value);
    }
  }

  // ||got - want|| / ||want|| over the rows kept.
  void close(const char* name, const char* what, const std::vector<float>& got,
             const std::vector<float>& want, int width, const std::vector<bool>& skip,
             int rows_per_token = 1) {
    double error = 0, norm = 0;
    for (size_t i = 0; i < got.size(); i++) {
      if (!skip[i / width / rows_per_token]) {
        const double d = static_cast<double>(got[i]) - want[i];
        error += d * d;
        norm += static_cast<double>(want[i]) * want[i];
      }
    }
    const double relative = std::sqrt(error / norm);
    worst = relative > worst ? relative : worst;
    that(relative < 6e-3 && norm > 0, name, what, relative);
  }
  double worst = 0;
};

inline std::vector<float> floats(const std::vector<Bf16>& from) {
  std::vector<float> to(from.size());
  for (size_t i = 0; i < from.size(); i++) to[i] = __bfloat162float(from[i]);
  return to;
}

// Rows [count, width] out of a token tile of `rows` rows.
inline std::vector<float> untile(const std::vector<Bf16>& tile, size_t start, int rows, int row,
                                 int width) {
  std::vector<float> to(width);
  for (int k = 0; k < width; k++) {
    to[k] = __bfloat162float(tile[start + static_cast<size_t>(k / kTileK) * rows * kTileK +
                                  swizzled_element(row, k % kTileK)]);
  }
  return to;
}

struct Case {
  const char* name;
  int tokens;
  bool same_experts;
  bool padding;
  int longest;
};

// Scratch of the references.
struct Reference {
  float *normed, *wide, *gate, *up, *context, *keys, *values, *router;
};

inline Reference make_reference(const Shape& s, int tokens) {
  const size_t t = tokens;
  return {device<float>(t * s.hidden),
          device<float>(t * std::max({s.qkv_width(), s.vocabulary, s.per_token * s.hidden})),
          device<float>(t * s.per_token * s.intermediate),
          device<float>(t * s.per_token * s.intermediate),
          device<float>(t * s.context_width()),
          device<float>(t * s.kv_heads * s.head_dim),
          device<float>(t * s.kv_heads * s.head_dim),
          device<float>(t * s.experts)};
}

class StageCheck {
 public:
  StageCheck(const Shape& s, const LayerWeights& w, const StepArrays& a, const Reference& r,
             Launcher& launch, Checks& checks, const Bf16* lm_head, const Tuning& tuning)
      : s_(s),
        w_(w),
        a_(a),
        r_(r),
        launch_(launch),
        checks_(checks),
        lm_head_(lm_head),
        tuning_(tuning) {}

  void run(const Case& c, int blocks, uint64_t seed) {
    name_ = c.name;
    t_ = c.tokens;
    std::mt19937 random(seed);
    std::vector<int> lens(t_);
    padding_.assign(t_, false);
    for (int t = 0; t < t_; t++) {
      lens[t] = t == 0 ? c.longest : 1 + random() % c.longest;
      padding_[t] = c.padding && t % 3 == 1;
    }
    set_sequences(s_, a_, lens, padding_, blocks, random);
    start_ = std::vector<float>(t_ * s_.hidden);
    for (int i = 0; i < t_ * s_.hidden; i++) {
      const float own = 3.0f * uniform(seed, i);
      start_[i] = c.same_experts ? 3.0f * uniform(seed + 1, i % s_.hidden) + 0.02f * own : own;
    }
    upload(a_.residual, start_);
    poison();
    LayerStep step(s_, tuning_, launch_, t_);
    qkv(step);
    attention(step, c.longest);
    output(step);
    gate_up(step);
    down(step);
    head(step);
    repeat();
  }

  // The layer's result from start_, row-major.
  std::vector<float> layer(int tokens, bool dependent) {
    upload(a_.residual, start_);
    LayerStep step(s_, tuning_, launch_, tokens);
    launch_.dependent = dependent;
    launch_.first = true;
    step.layer(w_, a_);
    launch_.dependent = false;
    CHECK(cudaGetLastError());
    return host(a_.residual, static_cast<size_t>(tokens) * s_.hidden);
  }

 private:
  bool few() const { return t_ <= 8; }

  void poison() {
    const int padded = max_padded_rows(t_ * s_.per_token, s_.experts, kMaxTileRows);
    const int tile_rows = ceil_div(t_, kTileRowStep) * kTileRowStep;
    CHECK(cudaMemset(a_.queries, 0xFF, sizeof(Bf16) * t_ * s_.context_width()));
    CHECK(cudaMemset(a_.context, 0xFF, sizeof(Bf16) * tile_rows * s_.context_width()));
    CHECK(cudaMemset(a_.h, 0xFF, sizeof(Bf16) * padded * s_.intermediate));
    CHECK(
        cudaMemset(a_.parts, 0xFF,
                   sizeof(float) * 8 * (padded + tile_rows) * std::max(s_.hidden, s_.qkv_width())));
    CHECK(cudaMemset(a_.tiles, 0xFF, sizeof(Bf16) * (padded + tile_rows) * s_.hidden));
    CHECK(cudaMemset(a_.normed, 0xFF, sizeof(Bf16) * t_ * s_.hidden));
    CHECK(cudaMemset(a_.attention_parts, 0xFF,
                     sizeof(float) * t_ * s_.heads * tuning_.splits * (s_.head_dim + 2)));
    CHECK(cudaMemset(a_.logits, 0xFF, sizeof(float) * t_ * s_.vocabulary));
    CHECK(cudaMemset(a_.expert_ids, 0xFF, sizeof(int) * t_ * s_.per_token));
    CHECK(cudaMemset(a_.expert_weights, 0xFF, sizeof(float) * t_ * s_.per_token));
  }

  void settle(const char* stage) {
    CHECK(cudaGetLastError());
    const cudaError_t error = cudaDeviceSynchronize();
    if (error != cudaSuccess) {
      std::printf("FAILED %s: %s: %s\n", name_, stage, cudaGetErrorString(error));
      std::exit(1);
    }
  }

  void linear(float* out, const float* x, const Weight& weights, int n, int k, int weight_rows,
              int map, const int* ids, int per_token, int rows, bool quantised = true) {
    reference_linear<<<dim3(ceil_div(n, 8), rows), 256>>>(
        out, x, weights, quantised ? s_.format : Format::kBf16, n, k, weight_rows, map, ids,
        per_token);
    settle("reference");
  }

  void qkv(LayerStep& step) {
    launch_.first = true;
    step.qkv(w_, a_);
    settle("qkv");
    reference_norm<<<t_, 256>>>(r_.normed, a_.residual, w_.input_norm, kEps, s_.hidden);
    linear(r_.wide, r_.normed, w_.qkv, s_.qkv_width(), s_.hidden, s_.qkv_width(), 0, nullptr, 0,
           t_);
    reference_rope<<<dim3(s_.heads + s_.kv_heads, t_), s_.head_dim / 2>>>(
        r_.wide, a_.rope_table, a_.positions, s_.qkv_width(), s_.head_dim);
    gather_cache<<<dim3(s_.kv_heads, t_), s_.head_dim>>>(r_.keys, r_.values, w_.keys, w_.values,
                                                         a_.slots, s_.block_size);
    const std::vector<float> all = host(r_.wide, static_cast<size_t>(t_) * s_.qkv_width());
    const int kv = s_.kv_heads * s_.head_dim;
    const auto part = [&](int from, int width) {
      std::vector<float> to;
      for (int t = 0; t < t_; t++) {
        const auto row = all.begin() + static_cast<size_t>(t) * s_.qkv_width() + from;
        to.insert(to.end(), row, row + width);
      }
      return to;
    };
    const int wide = s_.context_width();
    checks_.close(name_, "queries", floats(host(a_.queries, static_cast<size_t>(t_) * wide)),
                  part(0, wide), wide, padding_);
    checks_.close(name_, "keys", host(r_.keys, t_ * kv), part(wide, kv), kv, padding_);
    checks_.close(name_, "values", host(r_.values, t_ * kv), part(wide + kv, kv), kv, padding_);
  }

  void attention(LayerStep& step, int longest) {
    // What lies behind a sequence's end may be anything.
    launch_.first = true;
    step.attention(w_, a_);
    settle("attention");
    reference_attention<<<dim3(s_.heads, t_), 128, longest * 4>>>(
        r_.context, a_.queries, w_.keys, w_.values, a_.context_lens, a_.slots, a_.block_tables,
        a_.max_blocks, s_.heads, s_.kv_heads, s_.head_dim, s_.block_size, s_.window);
    settle("reference attention");
    context_ = rows_or_tile(a_.context, s_.context_width());
    checks_.close(name_, "context", context_, host(r_.context, context_.size()), s_.context_width(),
                  std::vector<bool>(t_, false));
  }

  std::vector<float> rows_or_tile(const Bf16* from, int width) {
    const int rows = ceil_div(t_, kTileRowStep) * kTileRowStep;
    if (few()) {
      return floats(host(from, static_cast<size_t>(t_) * width));
    }
    const std::vector<Bf16> tile = host(from, static_cast<size_t>(rows) * width);
    std::vector<float> to;
    for (int t = 0; t < t_; t++) {
      const std::vector<float> row = untile(tile, 0, rows, t, width);
      to.insert(to.end(), row.begin(), row.end());
    }
    return to;
  }

  // What a stage added to the residual against `want` [T, D].
  void added(const char* what, const std::vector<float>& before, const std::vector<float>& want,
             const std::vector<bool>& skip) {
    const std::vector<float> after = host(a_.residual, before.size());
    std::vector<float> got(before.size());
    for (size_t i = 0; i < got.size(); i++) got[i] = after[i] - before[i];
    checks_.close(name_, what, got, want, s_.hidden, skip);
  }

  void output(LayerStep& step) {
    const std::vector<float> before = host(a_.residual, static_cast<size_t>(t_) * s_.hidden);
    launch_.first = true;
    step.output(w_, a_);
    settle("output");
    upload(r_.context, context_);
    linear(r_.wide, r_.context, w_.output, s_.hidden, s_.context_width(), s_.hidden, 0, nullptr, 0,
           t_);
    added("output", before, host(r_.wide, before.size()), padding_);
  }

  void gate_up(LayerStep& step) {
    launch_.first = true;
    step.gate_up(w_, a_);
    settle("gate_up");
    reference_norm<<<t_, 256>>>(r_.normed, a_.residual, w_.post_norm, kEps, s_.hidden);
    reference_router<<<dim3(s_.experts, t_), 32>>>(r_.router, r_.normed, w_.router, s_.hidden);
    const std::vector<float> logits = host(r_.router, t_ * s_.experts);
    const int pairs = t_ * s_.per_token;
    ids_ = host(a_.expert_ids, pairs);
    weights_ = host(a_.expert_weights, pairs);
    for (int t = 0; t < t_; t++) {
      routing(t, &logits[t * s_.experts]);
    }
    linear(r_.gate, r_.normed, w_.gate_up, s_.intermediate, s_.hidden, 2 * s_.intermediate, 1,
           a_.expert_ids, s_.per_token, pairs);
    linear(r_.up, r_.normed, w_.gate_up, s_.intermediate, s_.hidden, 2 * s_.intermediate, 2,
           a_.expert_ids, s_.per_token, pairs);
    std::vector<float> want = host(r_.gate, static_cast<size_t>(pairs) * s_.intermediate);
    const std::vector<float> up = host(r_.up, want.size());
    for (size_t i = 0; i < want.size(); i++) {
      const float g = want[i];
      want[i] = g / (1.0f + expf(-g)) * up[i] * (few() ? weights_[i / s_.intermediate] : 1.0f);
    }
    h_ = hidden_rows(pairs);
    checks_.close(name_, "h", h_, want, s_.intermediate, padding_, s_.per_token);
  }

  // Chosen experts are the best of the reference's logits up to bf16's error, weights their
  // softmax.
  void routing(int t, const float* logits) {
    const int* ids = &ids_[t * s_.per_token];
    const float* weights = &weights_[t * s_.per_token];
    std::vector<bool> chosen(s_.experts, false);
    double total = 0, sum = 0;
    for (int k = 0; k < s_.per_token; k++) {
      if (padding_[t]) {
        checks_.that(ids[k] == -1 && weights[k] == 0.0f, name_, "padding chose an expert", ids[k]);
        continue;
      }
      if (ids[k] < 0 || ids[k] >= s_.experts || chosen[ids[k]]) {
        checks_.that(false, name_, "expert id", ids[k]);
        std::exit(1);
      }
      chosen[ids[k]] = true;
      total += std::exp(static_cast<double>(logits[ids[k]]));
    }
    for (int k = 0; k < s_.per_token && !padding_[t]; k++) {
      for (int e = 0; e < s_.experts; e++) {
        const float over = logits[e] - logits[ids[k]];
        checks_.that(chosen[e] || over < 0.02f, name_, "a better expert was left out", over);
      }
      const double share = std::exp(static_cast<double>(logits[ids[k]])) / total;
      checks_.that(std::fabs(weights[k] - share) < 0.01, name_, "routing weight",
                   weights[k] - share);
      sum += weights[k];
    }
    checks_.that(padding_[t] || std::fabs(sum - 1) < 1e-5, name_, "weights' sum", sum);
  }

  std::vector<float> hidden_rows(int pairs) {
    if (few()) {
      const std::vector<float> stored =
          floats(host(a_.h, static_cast<size_t>(pairs) * s_.intermediate));
      std::vector<float> to(stored.size());
      for (size_t i = 0; i < stored.size(); i++) {
        const int column = i % s_.intermediate;
        to[i] = stored[i - column + (s_.format == Format::kBf16 ? column : code_token_order(column))];
        if (s_.format == Format::kFp8) to[i] /= Fp8Weights<false>::kTokenFactor;
      }
      return to;
    }
    const int padded = max_padded_rows(pairs, s_.experts, kMaxTileRows);
    const std::vector<Bf16> tiles = host(a_.h, static_cast<size_t>(padded) * s_.intermediate);
    const std::vector<GroupPlan> plan = host(a_.plan, s_.experts);
    const std::vector<int> rows_of = host(a_.rows_of, pairs);
    std::vector<float> to(static_cast<size_t>(pairs) * s_.intermediate, 0.0f);
    for (int p = 0; p < pairs; p++) {
      checks_.that((rows_of[p] < 0) == (ids_[p] < 0), name_, "row of a pair", rows_of[p]);
      if (rows_of[p] >= 0) {
        const GroupPlan& g = plan[ids_[p]];
        const std::vector<float> row =
            untile(tiles, static_cast<size_t>(g.first_row) * s_.intermediate, g.tile_rows,
                   rows_of[p] - g.first_row, s_.intermediate);
        std::copy(row.begin(), row.end(), to.begin() + static_cast<size_t>(p) * s_.intermediate);
      }
    }
    return to;
  }

  void down(LayerStep& step) {
    const std::vector<float> before = host(a_.residual, static_cast<size_t>(t_) * s_.hidden);
    launch_.first = true;
    step.down(w_, a_);
    settle("down");
    const int pairs = t_ * s_.per_token;
    upload(r_.gate, h_);
    linear(r_.wide, r_.gate, w_.down, s_.hidden, s_.intermediate, s_.hidden, 0, a_.expert_ids, 0,
           pairs);
    const std::vector<float> each = host(r_.wide, static_cast<size_t>(pairs) * s_.hidden);
    std::vector<float> want(before.size(), 0.0f);
    for (int p = 0; p < pairs; p++) {
      for (int i = 0; ids_[p] >= 0 && i < s_.hidden; i++) {
        want[p / s_.per_token * s_.hidden + i] +=
            (few() ? 1.0f : weights_[p]) * each[static_cast<size_t>(p) * s_.hidden + i];
      }
    }
    added("down", before, want, std::vector<bool>(t_, false));
  }

  void head(LayerStep& step) {
    launch_.first = true;
    step.lm_head(w_, lm_head_, a_);
    settle("lm_head");
    reference_norm<<<t_, 256>>>(r_.normed, a_.residual, w_.input_norm, kEps, s_.hidden);
    const Weight head{const_cast<char*>(reinterpret_cast<const char*>(lm_head_)), nullptr};
    linear(r_.wide, r_.normed, head, s_.vocabulary, s_.hidden, s_.vocabulary, 0, nullptr, 0, t_,
           false);
    const size_t count = static_cast<size_t>(t_) * s_.vocabulary;
    checks_.close(name_, "logits", host(a_.logits, count), host(r_.wide, count), s_.vocabulary,
                  std::vector<bool>(t_, false));
  }

  void repeat() {
    const std::vector<float> once = layer(t_, false);
    checks_.that(once == layer(t_, false), name_, "the same step gave other bits", 0);
    checks_.that(once == layer(t_, true), name_, "dependent launches gave other bits", 0);
    // The first rows alone, in a smaller batch of the same kernels.
    const int fewer = few() ? 1 : 9;
    const std::vector<float> alone = layer(fewer, false);
    checks_.that(std::memcmp(alone.data(), once.data(), alone.size() * sizeof(float)) == 0, name_,
                 "a smaller batch gave other bits", 0);
    const std::vector<int> counters = host(a_.counters, t_ * s_.kv_heads);
    checks_.that(*std::max_element(counters.begin(), counters.end()) == 0, name_,
                 "a counter was left", 0);
  }

  const Shape& s_;
  const LayerWeights& w_;
  const StepArrays& a_;
  const Reference& r_;
  Launcher& launch_;
  Checks& checks_;
  const Bf16* lm_head_;
  const Tuning& tuning_;
  const char* name_ = "";
  int t_ = 0;
  std::vector<bool> padding_;
  std::vector<float> start_, context_, h_, weights_;
  std::vector<int> ids_;
};
