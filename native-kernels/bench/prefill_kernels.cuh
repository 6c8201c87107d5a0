// The prefill kernels' declarations, and their launches as the head comments of kernels/sm90a
// describe them: the same numbers that the Java launcher uses.
#pragma once

#include "device.cuh"
#include "grouped_plan.cuh"

extern "C" {
__global__ void tile_weight_bf16(bf16*, const bf16*, int, int);
__global__ void tile_gate_up_bf16(bf16*, const bf16*, const bf16*, long long, int, int);
__global__ void expert_plan_i32(GroupPlan*, int*, int*, const int*, int, int, int);
__global__ void expert_gather_bf16(bf16*, const bf16*, const GroupPlan*, const int*, int, int, int);
__global__ void expert_combine_bf16(bf16*, const float*, const int*, const float*, int, int);
__global__ void expert_combine_bf16_of_bf16(bf16*, const bf16*, const int*, const float*, int, int);
__global__ void expert_combine_f32(float*, const float*, const int*, const float*, int, int);
__global__ void expert_gate_up_bf16(bf16*, const char*, const char*, const GroupPlan*, int, int,
                                    int);
__global__ void expert_down_bf16(float*, const char*, const char*, const GroupPlan*, int, int, int,
                                 int);
__global__ void tile_rows_bf16(bf16*, const bf16*, int, int, int);
__global__ void matmul_wgmma_bf16(bf16*, const char*, const char*, int, int, int, int, int);
__global__ void matmul_wgmma_f32(float*, const char*, const char*, int, int, int, int, int);
__global__ void paged_attention_prefill_bf16_d128(bf16*, const bf16*, const bf16*, const bf16*,
                                                  const int*, const int*, const int*, int*, int,
                                                  int, int, int, int, int, float, int);
}

inline const char* bytes_of(const bf16* from) { return reinterpret_cast<const char*>(from); }

constexpr int kGemmShared = 229504;
constexpr int kAttentionShared = 229568;

inline int multiprocessors() {
  static const int count = [] {
    cudaDeviceProp properties;
    CUDA_CHECK(cudaGetDeviceProperties(&properties, 0));
    return properties.multiProcessorCount / 2 * 2;
  }();
  return count;
}

template <class Kernel>
void allow_shared(Kernel kernel, int bytes) {
  CUDA_CHECK(cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, bytes));
}

inline void allow_shared_everywhere() {
  allow_shared(expert_gate_up_bf16, kGemmShared);
  allow_shared(expert_down_bf16, kGemmShared);
  allow_shared(matmul_wgmma_bf16, kGemmShared);
  allow_shared(matmul_wgmma_f32, kGemmShared);
  allow_shared(paged_attention_prefill_bf16_d128, kAttentionShared);
}

// Buffers and launches of one MoE layer. Legend: T tokens, E experts, K experts per token, D
// hidden, I intermediate.
struct MoeLayer {
  int tokens, experts, slots, hidden, intermediate;
  int pairs = tokens * slots;
  int hidden_tiles = ceil_div(hidden, kTileK);
  int intermediate_tiles = ceil_div(intermediate, kTileK);
  int down_tiles = ceil_div(hidden, kTileRows);
  int capacity = max_padded_rows(pairs, experts, kMaxTileRows);
  Buffer<GroupPlan> plan{(plan_bytes(experts) + 15) / 16};
  Buffer<int> pair_row{static_cast<size_t>(pairs)};
  Buffer<int> row_pair{static_cast<size_t>(capacity)};
  Buffer<bf16> tiles{static_cast<size_t>(capacity) * hidden_tiles * kTileK};
  Buffer<bf16> inner{static_cast<size_t>(capacity) * intermediate_tiles * kTileK};
  Buffer<float> rows{static_cast<size_t>(capacity) * hidden};

  void poison() const {
    plan.poison(), pair_row.poison(), row_pair.poison();
    tiles.poison(), inner.poison(), rows.poison();
  }
  void make_plan(const int* expert_ids) const {
    expert_plan_i32<<<experts, 1024, 132 * experts>>>(plan.get(), pair_row.get(), row_pair.get(),
                                                      expert_ids, pairs, experts, kMaxTileRows);
  }
  void gather(const bf16* x) const {
    const dim3 grid(ceil_div(capacity, 8), ceil_div(hidden_tiles, 8));
    expert_gather_bf16<<<grid, 256>>>(tiles.get(), x, plan.get(), row_pair.get(), experts, slots,
                                      hidden);
  }
  void gate_up(const bf16* weights) const {
    expert_gate_up_bf16<<<multiprocessors(), 384, kGemmShared>>>(
        inner.get(), bytes_of(weights), bytes_of(tiles.get()), plan.get(), experts,
        intermediate_tiles, hidden_tiles);
  }
  void down(const bf16* weights) const {
    expert_down_bf16<<<multiprocessors(), 384, kGemmShared>>>(
        rows.get(), bytes_of(weights), bytes_of(inner.get()), plan.get(), experts, down_tiles,
        intermediate_tiles, hidden);
  }
  void combine(bf16* out, const float* weights) const {
    expert_combine_bf16<<<tokens, 256>>>(out, rows.get(), pair_row.get(), weights, slots, hidden);
  }
  size_t gate_up_elements() const {
    return tiled_weight_elements(experts, intermediate_tiles * kTileRows, hidden);
  }
  size_t down_elements() const { return tiled_weight_elements(experts, hidden, intermediate); }
};

inline void tile_gate_up(bf16* out, const bf16* from, int experts, int intermediate, int hidden) {
  const dim3 grid(ceil_div(hidden, kTileK), ceil_div(intermediate, kTileK), experts);
  const size_t half = static_cast<size_t>(intermediate) * hidden;
  tile_gate_up_bf16<<<grid, 256>>>(out, from, from + half, static_cast<long long>(2 * half),
                                   intermediate, hidden);
}

inline void tile_weight(bf16* out, const bf16* from, int experts, int n, int k) {
  const dim3 grid(ceil_div(k, kTileK), ceil_div(n, kTileRows), experts);
  tile_weight_bf16<<<grid, 256>>>(out, from, n, k);
}

// The height of token tiles that keeps the clusters busiest (matmul_wgmma.cu).
inline int choose_tile_rows(int rows, int n_tiles, int most = kMaxTileRows) {
  int best = 0, best_cost = 0;
  for (int height = most; height >= 64; height -= 16) {
    const GroupPlan plan = plan_group(0, rows, height);
    const int units = ceil_div(n_tiles, 2) * plan.tiles;
    const int cost = ceil_div(units, multiprocessors() / 2) * (plan.tile_rows + 256);
    if (best == 0 || cost < best_cost) {
      best = height, best_cost = cost;
    }
  }
  return best;
}

// A projection: x [rows, k] row-major to tiles, and the product.
struct Projection {
  int rows, n, k;
  int n_tiles = ceil_div(n, kTileRows);
  int k_tiles = ceil_div(k, kTileK);
  int max_rows = choose_tile_rows(rows, n_tiles);
  int capacity = max_padded_rows(rows, 1, max_rows);
  Buffer<bf16> tiles{static_cast<size_t>(capacity) * k_tiles * kTileK};

  void tile(const bf16* x) const {
    const dim3 grid(ceil_div(capacity, 8), ceil_div(k_tiles, 8));
    tile_rows_bf16<<<grid, 256>>>(tiles.get(), x, rows, k, max_rows);
  }
  void multiply(bf16* out, const bf16* weights) const {
    matmul_wgmma_bf16<<<multiprocessors(), 384, kGemmShared>>>(
        out, bytes_of(weights), bytes_of(tiles.get()), rows, max_rows, n_tiles, k_tiles, n);
  }
  void multiply(float* out, const bf16* weights) const {
    matmul_wgmma_f32<<<multiprocessors(), 384, kGemmShared>>>(
        out, bytes_of(weights), bytes_of(tiles.get()), rows, max_rows, n_tiles, k_tiles, n);
  }
};

// A ragged batch over a paged cache with shuffled blocks.
struct AttentionBatch {
  int heads, kv_heads, block_size, window;
  std::vector<int> cu_seq_lens{0};
  std::vector<int> context_lens;
  int max_blocks = 0;
  int blocks = 0;

  void add(int new_tokens, int context) {
    cu_seq_lens.push_back(cu_seq_lens.back() + new_tokens);
    context_lens.push_back(context);
    max_blocks = std::max(max_blocks, ceil_div(context, block_size));
    blocks += ceil_div(context, block_size);
  }
  int tokens() const { return cu_seq_lens.back(); }
  int seqs() const { return static_cast<int>(context_lens.size()); }
  // Every sequence's blocks, spread over the pool by a step that is prime to its size.
  std::vector<int> block_tables() const {
    int step = blocks / 3 + 1;
    while (std::__gcd(step, blocks) != 1) {
      step++;
    }
    std::vector<int> tables(static_cast<size_t>(seqs()) * max_blocks, -1);
    int next = 0;
    for (int s = 0; s < seqs(); s++) {
      for (int i = 0; i < ceil_div(context_lens[s], block_size); i++) {
        tables[static_cast<size_t>(s) * max_blocks + i] =
            static_cast<int>(static_cast<long long>(next++) * step % blocks);
      }
    }
    return tables;
  }
};

inline void attend(const AttentionBatch& batch, bf16* out, const bf16* qkv, const bf16* keys,
                   const bf16* values, const int* tables, const int* cu_seq_lens,
                   const int* context_lens, int* work) {
  paged_attention_prefill_bf16_d128<<<multiprocessors(), 384, kAttentionShared>>>(
      out, qkv, keys, values, tables, cu_seq_lens, context_lens, work, batch.seqs(), batch.heads,
      batch.kv_heads, batch.block_size, batch.max_blocks, batch.window, 0.08838834764f, 0);
}
