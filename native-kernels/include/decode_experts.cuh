// The experts of a decode step of at most 8 tokens, for weights of any format; what they do and how
// they are launched stands in kernels/decode_experts.cu.
#pragma once

#include "choose_experts.cuh"
#include "decode_stream.cuh"

static_assert(kMaxExperts <= 16, "the router's rows are one fragment");
constexpr int kMaxPairs = 32;  // lanes of a warp
constexpr int kExpertGap = 8 * kRowBytes;  // gate and up, or low and high rows

struct Routing {
  int expert[kMaxPairs];  // of those whose weights are here; -1: none of them
  float weight[kMaxPairs];
};

// Expert n (from 0) of those in the mask.
__device__ __forceinline__ int nth_expert(unsigned mask, int n) {
  for (; n > 0; n--) {
    mask &= mask - 1;
  }
  return __ffs(mask) - 1;
}

__device__ __forceinline__ unsigned chosen_experts(int expert) {
  return __reduce_or_sync(kAllLanes, expert >= 0 ? 1u << expert : 0u);
}

// ---- routing ------------------------------------------------------------------------------------

// One lane's share of the router's rows in 64 columns, rows beyond E as zeros, in the order in which
// the tokens stand.
template <class Weights>
__device__ __forceinline__ uint4 load_router_chunk(const __nv_bfloat16* at, int lane) {
  if constexpr (Weights::token_order(4) == 4) {
    return load_weights(at + lane % 4 * kChunk);
  } else {
    const char* word = reinterpret_cast<const char*>(at + lane % 4 * 2);
    return make_uint4(load_word(word), load_word(word + 16), load_word(word + 32),
                      load_word(word + 48));
  }
}

template <class Weights>
__device__ __forceinline__ void load_router(WeightSlice& slice, const __nv_bfloat16* router,
                                            int columns64, int experts, int width, int lane) {
  const int row = lane / 4;
  const __nv_bfloat16* at = router + static_cast<size_t>(row) * width + columns64 * kTileK;
#pragma unroll
  for (int h = 0; h < 2; h++) {
    slice.low[h] = row < experts ? load_router_chunk<Weights>(at + h * 32, lane)
                                 : make_uint4(0, 0, 0, 0);
    slice.high[h] = row + 8 < experts ? load_router_chunk<Weights>(at + 8 * width + h * 32, lane)
                                      : make_uint4(0, 0, 0, 0);
  }
}

__device__ __forceinline__ void multiply_router(float (&acc)[1][4], const WeightSlice& slice,
                                                const char* token_row, int columns64) {
  const char* at = token_row + columns64 * kRowBytes;
  const Bf16Weights::Part part[1] = {{slice}};
  Bf16Weights::multiply(acc, part,
                        [&](int h) { return *reinterpret_cast<const uint4*>(at + h * 64); });
}

// The sum over warps of row `expert`, column `token` of the accumulators.
__device__ __forceinline__ float logit_of(const WarpSums& of, int expert, int token) {
  const int at = (expert % 8 * 4 + token / 2) * 4 + expert / 8 * 2 + token % 2;
  float sum = 0.0f;
#pragma unroll
  for (int warp = 0; warp < kDecodeWarps; warp++) {
    sum += reinterpret_cast<const float*>(of[warp])[at];
  }
  return sum;
}

__device__ __forceinline__ float silu(float x) { return __fdividef(x, 1.0f + __expf(-x)); }

template <class Weights>
__device__ __forceinline__ void decode_gate_up(__nv_bfloat16* h, int* expert_ids,
                                               float* expert_weights, const float* residual,
                                               const __nv_bfloat16* gain,
                                               const __nv_bfloat16* router, const Weights& weights,
                                               const int* slots, float eps, int tokens, int hidden,
                                               int intermediate, int experts, int per_token,
                                               int first_expert, int own_experts) {
  extern __shared__ __align__(16) char shared_tokens[];
  __shared__ UnitSums<Weights::kUnits> sums;
  __shared__ SquareSums squares;
  __shared__ Routing routing;
  const int k_tiles = ceil_div(hidden, Weights::kTileColumns);
  const int columns64 = hidden / kTileK;
  const int lane = threadIdx.x % kWarpSize;
  const int warp = threadIdx.x / kWarpSize;
  const char* token_row = lane_token_row<Weights>(shared_tokens, k_tiles, tokens, lane);
  {
    constexpr int kAhead = Weights::kRouterAhead;
    WeightSlice ahead[kAhead];
#pragma unroll
    for (int q = 0; q < kAhead; q++) {
      if (warp + q * kDecodeWarps < columns64) {
        load_router<Weights>(ahead[q], router, warp + q * kDecodeWarps, experts, hidden, lane);
      }
    }
    prefetch_gain(gain, hidden);
    wait_for_predecessor();
    load_normed<Weights>(shared_tokens, squares, residual, nullptr, gain, hidden, k_tiles, tokens);
    __syncthreads();
    float acc[1][4] = {};
    float odd[1][4] = {};  // two chains of products: the block waits for their latency
#pragma unroll
    for (int q = 0; q < kAhead; q++) {
      if (warp + q * kDecodeWarps < columns64) {
        multiply_router(q % 2 == 0 ? acc : odd, ahead[q], token_row, warp + q * kDecodeWarps);
      }
    }
    for (int at = warp + kAhead * kDecodeWarps; at < columns64; at += kDecodeWarps) {
      load_router<Weights>(ahead[0], router, at, experts, hidden, lane);
      multiply_router(acc, ahead[0], token_row, at);
    }
    sums.of[0][0][warp][lane] = make_float4(acc[0][0] + odd[0][0], acc[0][1] + odd[0][1],
                                            acc[0][2] + odd[0][2], acc[0][3] + odd[0][3]);
  }
  __syncthreads();
  if (warp < tokens) {
    // The router's weights are no codes.
    const float scale = normed_scale(squares, warp, eps, hidden) / Weights::kTokenFactor;
    const float logit = lane < experts ? logit_of(sums.of[0][0], lane, warp) * scale : 0.0f;
    const int pair = warp * per_token + lane;
    choose_experts(routing.expert + warp * per_token, routing.weight + warp * per_token, logit,
                   experts, per_token, slots[warp] < 0, lane);
    if (lane < per_token) {
      const int expert = routing.expert[pair];
      routing.expert[pair] = own_expert(expert, first_expert, own_experts);
      if (blockIdx.x == 0) {
        expert_ids[pair] = expert;
        expert_weights[pair] = routing.weight[pair];
        __threadfence();  // before the release: decode_down_bf16 reads ids without waiting
      }
    }
  }
  __syncthreads();
  release_successor();

  const unsigned chosen = chosen_experts(lane < tokens * per_token ? routing.expert[lane] : -1);
  const int units_per_expert = intermediate / 8;
  const size_t expert_tiles = static_cast<size_t>(units_per_expert / 8) * k_tiles;
  const int units = __popc(chosen) * units_per_expert;
  const int first = blockIdx.x;
  const int step = gridDim.x;
  const auto base = [&](int i) {
    const int unit = first + i * step;
    const int row16 = unit % units_per_expert;
    return unit_at(nth_expert(chosen, unit / units_per_expert) * expert_tiles +
                       static_cast<size_t>(row16 / 8) * k_tiles,
                   row16 % 8 * 16);
  };
  const int count = first < units ? (units - first - 1) / step + 1 : 0;
  WeightStream<Weights, kExpertGap> stream(weights, k_tiles);
  stream.start(count, base);
  stream.run(count, token_row, sums, base, [&](int i, float4 sum) {
    const int unit = first + i * step;
    const int expert = nth_expert(chosen, unit / units_per_expert);
    const int column = unit % units_per_expert * 8 + lane / 4;
#pragma unroll
    for (int c = 0; c < 2; c++) {
      const int token = lane % 4 * 2 + c;
      for (int k = 0; token < tokens && k < per_token; k++) {
        const int pair = token * per_token + k;
        if (routing.expert[pair] == expert) {
          const float scale = normed_scale(squares, token, eps, hidden) * Weights::kSumFactor;
          const float gate = (c == 0 ? sum.x : sum.y) * scale;
          const float up = (c == 0 ? sum.z : sum.w) * scale;
          h[static_cast<size_t>(pair) * intermediate + Weights::token_order(column)] =
              __float2bfloat16(routing.weight[pair] * silu(gate) * up * Weights::kTokenFactor);
        }
      }
    }
  });
}

// ---- down ---------------------------------------------------------------------------------------

// The chosen among the own experts in ascending order and, for each, the row of h of every token
// (-1: none).
struct ChosenExperts {
  int count;
  int expert[kMaxExperts];
  int pair[kMaxExperts][kDecodeTokens];
};

// Every thread of the block must call it. Ids come from L2: their writer may still be running.
__device__ __forceinline__ void find_chosen(ChosenExperts& out, const int* expert_ids, int tokens,
                                            int per_token, int first_expert, int own_experts) {
  const int lane = threadIdx.x;
  if (threadIdx.x < kMaxExperts * kDecodeTokens) {
    out.pair[threadIdx.x / kDecodeTokens][threadIdx.x % kDecodeTokens] = -1;
  }
  __syncthreads();
  if (threadIdx.x < kWarpSize) {
    int expert = -1;
    if (lane < tokens * per_token) {
      asm volatile("ld.relaxed.gpu.global.s32 %0, [%1];" : "=r"(expert) : "l"(expert_ids + lane));
      expert = own_expert(expert, first_expert, own_experts);
    }
    const unsigned chosen = chosen_experts(expert);
    if (expert >= 0) {
      const int index = __popc(chosen & ((1u << expert) - 1));
      out.expert[index] = expert;
      out.pair[index][lane / per_token] = lane;
    }
    if (lane == 0) {
      out.count = __popc(chosen);
    }
  }
  __syncthreads();
}

// Down's 32 weight rows, and the tokens' chunks straight from L2: loaded with the rows, or, where
// those leave no registers, when they are needed, while the ring keeps memory busy.
template <class Weights>
class DownStream {
 public:
  static constexpr int kDepth = 2;
  static constexpr int kChunks = Weights::kTileColumns / 32;  // of a k tile and token, for a lane

  __device__ __forceinline__ DownStream(const Weights& weights, const ChosenExperts& chosen,
                                        const __nv_bfloat16* h, int intermediate,
                                        int expert_tiles)
      : weights_(weights),
        chosen_(chosen),
        h_(h),
        expert_tiles_(expert_tiles),
        intermediate_(intermediate),
        warp_(threadIdx.x / kWarpSize),
        lane_(threadIdx.x % kWarpSize) {
    const int k_tiles = ceil_div(intermediate, Weights::kTileColumns);
    steps_ = k_tiles > warp_ ? ceil_div(k_tiles - warp_, kDecodeWarps) : 0;
    total_ = steps_ * chosen.count;
    offset_ = lane_offset(lane_);
    other_ = (offset_ & 64) ? -64 : 64;
  }

  __device__ __forceinline__ void start_weights(UnitAt unit) {
#pragma unroll
    for (int q = 0; q < kDepth; q++) {
      if (q < total_) {
        load_weight_rows(ring_[q], unit, q / steps_, q % steps_);
      }
    }
  }

  __device__ __forceinline__ void start_tokens() {
    if constexpr (Weights::kTokensAhead) {
#pragma unroll
      for (int q = 0; q < kDepth; q++) {
        if (q < total_) {
          load_tokens(tokens_[q], q / steps_, q % steps_);
        }
      }
    }
  }

  __device__ __forceinline__ void run(float (&acc)[2][4], UnitAt unit) {
    int index = steps_ > 0 ? kDepth / steps_ : 0;  // what is loaded next
    int step = steps_ > 0 ? kDepth % steps_ : 0;
    int index_now = 0;
    int step_now = 0;
    for (int done = 0; done < total_; done += kDepth) {
#pragma unroll
      for (int q = 0; q < kDepth; q++) {
        if (done + q < total_) {
          uint4(&tokens)[kChunks] = tokens_[Weights::kTokensAhead ? q : 0];
          if constexpr (!Weights::kTokensAhead) {
            load_tokens(tokens, index_now, step_now);
            if (++step_now == steps_) {
              step_now = 0;
              index_now++;
            }
          }
          Weights::multiply(acc, ring_[q], [&](int h) { return tokens[h]; });
          if (done + q + kDepth < total_) {
            load_weight_rows(ring_[q], unit, index, step);
            if constexpr (Weights::kTokensAhead) {
              load_tokens(tokens, index, step);
            }
            if (++step == steps_) {
              step = 0;
              index++;
            }
          }
        }
      }
    }
  }

 private:
  using Part = typename Weights::Part;

  __device__ __forceinline__ void load_weight_rows(Part (&rows)[2], UnitAt unit, int index,
                                                   int step) {
    const int tile = chosen_.expert[index] * expert_tiles_;
    const int k = warp_ + step * kDecodeWarps;
    weights_.load(rows[0], {unit.row + tile * kTileRows}, k, offset_, other_, kExpertGap);
    weights_.load(rows[1], {unit.row + tile * kTileRows + 16}, k, offset_, other_, kExpertGap);
  }

  __device__ __forceinline__ void load_tokens(uint4 (&tokens)[kChunks], int index, int step) {
    const int pair = chosen_.pair[index][lane_ / 4];
    const int column = (warp_ + step * kDecodeWarps) * Weights::kTileColumns;
    const __nv_bfloat16* at =
        h_ + static_cast<size_t>(pair) * intermediate_ + column + lane_ % 4 * kChunk;
#pragma unroll
    for (int c = 0; c < kChunks; c++) {
      // The last tile may end beyond I, which is a multiple of 64.
      const bool there =
          pair >= 0 && (Weights::kTileColumns == kTileK || column + c * 32 < intermediate_);
      tokens[c] = there ? load_written(at + c * 32) : make_uint4(0, 0, 0, 0);
    }
  }

  const Weights& weights_;
  const ChosenExperts& chosen_;
  const __nv_bfloat16* h_;
  const int expert_tiles_;
  const int intermediate_;
  const int warp_;
  const int lane_;
  int steps_;  // k tiles of this warp in one expert
  int total_;  // in all of them
  int offset_;
  int other_;
  Part ring_[kDepth][2];
  uint4 tokens_[Weights::kTokensAhead ? kDepth : 1][kChunks];
};

template <class Weights>
__device__ __forceinline__ void decode_down(float* residual, const __nv_bfloat16* h,
                                            const int* expert_ids, const Weights& weights,
                                            int tokens, int hidden, int intermediate,
                                            int per_token, int first_expert, int own_experts) {
  __shared__ WarpSums sums[2];
  __shared__ ResidualRows own;
  __shared__ ChosenExperts chosen;
  const int lane = threadIdx.x % kWarpSize;
  const int warp = threadIdx.x / kWarpSize;
  const int k_tiles = ceil_div(intermediate, Weights::kTileColumns);
  find_chosen(chosen, expert_ids, tokens, per_token, first_expert, own_experts);
  DownStream<Weights> stream(weights, chosen, h, intermediate,
                             ceil_div(hidden, kTileRows) * k_tiles);
  bool waited = false;
  for (int pair = blockIdx.x; pair < hidden / 32; pair += gridDim.x) {
    const UnitAt unit = unit_at(static_cast<size_t>(pair / 4) * k_tiles, pair % 4 * 32);
    stream.start_weights(unit);
    if (!waited) {
      wait_for_predecessor();
      release_successor();
      waited = true;
    }
    stream.start_tokens();
    own.load(residual, hidden, tokens, 2, [&](int i) { return pair * 32 + i * 16; });
    float acc[2][4] = {};
    stream.run(acc, unit);
#pragma unroll
    for (int block = 0; block < 2; block++) {
      sums[block][warp][lane] =
          make_float4(acc[block][0], acc[block][1], acc[block][2], acc[block][3]);
    }
    __syncthreads();
    if (warp < 2) {
      const float4 sum = sum_warps(sums[warp], lane);
      const int row = lane / 4;
#pragma unroll
      for (int c = 0; c < 2; c++) {
        const int token = lane % 4 * 2 + c;
        if (token < tokens) {
          float* to = residual + static_cast<size_t>(token) * hidden + pair * 32 + warp * 16 + row;
          own.add(to, warp, tokens, token, row, (c == 0 ? sum.x : sum.y) * Weights::kSumFactor);
          own.add(to + 8, warp, tokens, token, row + 8,
                  (c == 0 ? sum.z : sum.w) * Weights::kSumFactor);
        }
      }
    }
    __syncthreads();
  }
  if (!waited) {  // no block may end before its predecessor: the next kernel relies on it
    wait_for_predecessor();
    release_successor();
  }
}
