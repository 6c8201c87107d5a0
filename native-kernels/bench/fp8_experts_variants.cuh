// A layer of experts with FP8 weights and inputs, composed of what fp8_experts_variants.cu and kernels/
// offer: which kernels, and whether by programmatic dependent launch.
#pragma once

#include "prefill_fp8.cuh"

#define GREGALE_GATE_UP(name)                                                                    \
  __global__ void try_gate_up_##name(bf16*, const char*, const char*, const char*, const float*, \
                                     const GroupPlan*, int, int, int);
#define GREGALE_GATE_UP_CODES(name)                                                               \
  __global__ void try_gate_up_##name(bf16*, char*, float*, int*, const char*, const char*,        \
                                     const char*, const float*, const GroupPlan*, int, int, int,  \
                                     int, float, unsigned long long*);
#define GREGALE_DOWN(name, Out)                                                                  \
  __global__ void try_down_##name(Out*, const char*, const char*, const char*, const float*,     \
                                  const GroupPlan*, int, int, int, int);
extern "C" {
GREGALE_GATE_UP(memory_together)
GREGALE_GATE_UP(memory_apart)
GREGALE_GATE_UP(registers_together)
GREGALE_GATE_UP(registers_apart)
GREGALE_GATE_UP_CODES(memory_codes)
GREGALE_GATE_UP_CODES(registers_codes)
GREGALE_DOWN(memory_f32, float)
GREGALE_DOWN(memory_bf16, bf16)
GREGALE_DOWN(registers_f32, float)
GREGALE_DOWN(registers_bf16, bf16)
}

inline void allow_shared_variants() {
  allow_shared(try_gate_up_memory_together, kGemmShared);
  allow_shared(try_gate_up_memory_apart, kGemmShared);
  allow_shared(try_gate_up_registers_together, kGemmShared);
  allow_shared(try_gate_up_registers_apart, kGemmShared);
  allow_shared(try_gate_up_memory_codes, kGemmShared);
  allow_shared(try_gate_up_registers_codes, kGemmShared);
  allow_shared(try_down_memory_f32, kGemmShared);
  allow_shared(try_down_memory_bf16, kGemmShared);
  allow_shared(try_down_registers_f32, kGemmShared);
  allow_shared(try_down_registers_bf16, kGemmShared);
}

enum class Swiglu { kTogether, kApart, kCodes };

// kCodes needs scatter, which clears its counters.
struct Variant {
  const char* name;
  bool registers;  // A of wgmma
  Swiglu swiglu;
  bool scatter;    // inputs quantised once a token, not once a pair
  bool bf16_rows;  // of down
  bool dependent;  // programmatic dependent launch
};

// How inputs are quantised.
struct Quantisation {
  int recipe = 0;
  float static_scale = 1.0f;
  unsigned long long* saturated = nullptr;
};

class ExpertsVariant {
 private:  // first: the buffers below are sized by them
  const Fp8Moe& m_;
  const Variant v_;
  const Quantisation q_;
  bool first_ = true;

 public:
  ExpertsVariant(const Fp8Moe& layer, const Variant& variant, const Quantisation& quantisation)
      : m_(layer), v_(variant), q_(quantisation) {}

  // The whole layer; the first launch waits for everything before it.
  void run(bf16* out, const bf16* x, const int* ids, const float* weights, const Fp8Weight& up,
           const Fp8Weight& down_weight) {
    first_ = true;
    plan(ids);
    inputs(x);
    gate_up(up);
    inner();
    down(down_weight);
    combine(out, weights);
  }

  void plan(const int* ids) {
    launch(expert_plan_i32, m_.experts, 1024, 132 * m_.experts, m_.plan.get(), m_.pair_row.get(),
           m_.row_pair.get(), ids, m_.pairs, m_.experts, m_.most);
  }

  void inputs(const bf16* x) {
    char* codes = m_.x_codes.codes.get();
    float* scales = m_.x_codes.scales.get();
    if (v_.scatter) {
      launch(quantize_scatter_fp8, m_.tokens + m_.capacity - m_.pairs, 256, 0, codes, scales, x,
             m_.plan.get(), m_.pair_row.get(), work.get(), m_.tokens, m_.experts, m_.slots,
             m_.hidden, q_.recipe, q_.static_scale, q_.saturated);
    } else {
      launch(quantize_gather_fp8, m_.capacity, 256, 0, codes, scales, x, m_.plan.get(),
             m_.row_pair.get(), m_.experts, m_.slots, m_.hidden, q_.recipe, q_.static_scale,
             q_.saturated);
    }
  }

  void gate_up(const Fp8Weight& w) {
    const int grid = multiprocessors();
    if (v_.swiglu == Swiglu::kCodes) {
      launch(v_.registers ? try_gate_up_registers_codes : try_gate_up_memory_codes, grid, 384,
             kGemmShared, m_.inner.get(), m_.inner_codes.codes.get(), m_.inner_codes.scales.get(),
             work.get(), w.tiled.get(), w.tiled_scales.get(), m_.x_codes.codes.get(),
             m_.x_codes.scales.get(), m_.plan.get(), m_.experts, m_.inner_tiles,
             code_tiles(m_.hidden), q_.recipe, q_.static_scale, q_.saturated);
      return;
    }
    const bool apart = v_.swiglu == Swiglu::kApart;
    launch(v_.registers ? apart ? try_gate_up_registers_apart : try_gate_up_registers_together
           : apart      ? try_gate_up_memory_apart
                        : try_gate_up_memory_together,
           grid, 384, kGemmShared, m_.inner.get(), w.tiled.get(), w.tiled_scales.get(),
           m_.x_codes.codes.get(), m_.x_codes.scales.get(), m_.plan.get(), m_.experts,
           m_.inner_tiles, code_tiles(m_.hidden));
  }

  void inner() {
    char* codes = m_.inner_codes.codes.get();
    float* scales = m_.inner_codes.scales.get();
    if (v_.swiglu == Swiglu::kCodes) {
      launch(quantize_rest_fp8, 2 * multiprocessors(), 256, 0, codes, scales, m_.inner.get(),
             m_.plan.get(), work.get() + m_.experts, m_.experts, m_.inner_tiles, q_.recipe,
             q_.static_scale, q_.saturated);
    } else {
      launch(quantize_tiles_fp8, m_.capacity, 256, 0, codes, scales, m_.inner.get(), m_.plan.get(),
             m_.row_pair.get(), m_.experts, m_.inner_tiles, q_.recipe, q_.static_scale,
             q_.saturated);
    }
  }

  void down(const Fp8Weight& w) {
    const auto with = [&](auto* kernel, auto* out) {
      launch(kernel, multiprocessors(), 384, kGemmShared, out, w.tiled.get(), w.tiled_scales.get(),
             m_.inner_codes.codes.get(), m_.inner_codes.scales.get(), m_.plan.get(), m_.experts,
             ceil_div(m_.hidden, kTileRows), code_tiles(m_.intermediate), m_.hidden);
    };
    if (v_.bf16_rows) {
      with(v_.registers ? try_down_registers_bf16 : try_down_memory_bf16, rows.get());
    } else {
      with(v_.registers ? try_down_registers_f32 : try_down_memory_f32, m_.rows.get());
    }
  }

  void combine(bf16* out, const float* weights) {
    if (v_.bf16_rows) {
      launch(expert_combine_rows_bf16, m_.tokens, 256, 0, out, rows.get(), m_.pair_row.get(),
             weights, m_.slots, m_.hidden);
    } else {
      launch(expert_combine_bf16, m_.tokens, 256, 0, out, m_.rows.get(), m_.pair_row.get(), weights,
             m_.slots, m_.hidden);
    }
  }

  // Of the rows that gate_up quantised itself, how many; after it.
  int quantised() const {
    const std::vector<int> counts = work.download();
    const std::vector<GroupPlan> plans = m_.plan.download();
    int sum = 0;
    for (int e = 0; e < m_.experts; e++) {
      sum += std::min(counts[m_.experts + e], plans[e].tiles * plans[e].tile_rows);
    }
    return sum;
  }

  Buffer<int> work{2 * static_cast<size_t>(m_.experts)};

 private:
  template <class... Parameters, class... Arguments>
  void launch(void (*kernel)(Parameters...), int grid, int block, int shared,
              Arguments... arguments) {
    cudaLaunchConfig_t config = {};
    config.gridDim = dim3(grid);
    config.blockDim = dim3(block);
    config.dynamicSmemBytes = shared;
    cudaLaunchAttribute attribute;
    attribute.id = cudaLaunchAttributeProgrammaticStreamSerialization;
    attribute.val.programmaticStreamSerializationAllowed = 1;
    config.attrs = &attribute;
    config.numAttrs = v_.dependent && !first_ ? 1 : 0;
    first_ = false;
    CUDA_CHECK(cudaLaunchKernelEx(&config, kernel, static_cast<Parameters>(arguments)...));
  }

  Buffer<bf16> rows{v_.bf16_rows ? static_cast<size_t>(m_.capacity) * m_.hidden : 1};
};
