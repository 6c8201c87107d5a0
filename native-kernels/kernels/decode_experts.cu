// The experts of a decode step of at most 8 tokens, in two launches:
//
//   decode_gate_up_bf16  rmsNorm, matmul(router), routeTopK, then
//                        h[t, k] = w[t, k] * silu(gate n_t) * (up n_t) of t's k-th expert
//   decode_down_bf16     residual[t] += sum over k of down h[t, k]
//
// Legend: T tokens (1 to 8), D hidden, I intermediate padded to 64, E experts (at most 16), K
// experts per token (T K at most 32). Weights: tiled_layout.cuh, gate and up interleaved in groups
// of eight rows; the router is row-major. bf16 operands, fp32 accumulation, fp32 residual. Only
// experts that were chosen are read, each once for all tokens. The routing weight is folded into h,
// so that down's accumulators run across experts. Each result has one order of summation (experts
// ascending, then K), whatever the batch: the same row gives the same bits in any batch of 1 to 8.
//
// Restrictions, checked by the caller: D a multiple of 64 (gate_up) and of 32 (down), pointers
// 16-byte aligned. Tokens with slot -1 are padding: they choose no expert (id -1, weight 0), so
// they cost no bandwidth, and their residual stays as it is.
//
// Launch: block 512; grid = multiprocessors (any number >= 1 is right; decode_down_bf16 has D / 32
// units); dynamic shared memory: decode_gate_up_bf16 T * (2 * D + 64) bytes, decode_down_bf16 0.
// Carve-out: see decode_linear.cu. With programmatic dependent launch decode_down_bf16 must
// directly follow decode_gate_up_bf16: it reads expert ids before its wait, which is sound because
// decode_gate_up_bf16 releases it only after they are written.

#include "choose_experts.cuh"
#include "decode_stream.cuh"

namespace {

static_assert(kMaxExperts <= 16, "the router's rows are one fragment");
constexpr int kMaxPairs = 32;  // lanes of a warp
constexpr int kPlainGap = 8 * kRowBytes;

struct Routing {
  int expert[kMaxPairs];
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

// One lane's share of the router's rows in k tile `k_tile`, rows beyond E as zeros.
__device__ __forceinline__ void load_router(WeightSlice& slice, const __nv_bfloat16* router,
                                            int k_tile, int experts, int width, int lane) {
  const int row = lane / 4;
  const __nv_bfloat16* at =
      router + static_cast<size_t>(row) * width + k_tile * kTileK + lane % 4 * kChunk;
#pragma unroll
  for (int h = 0; h < 2; h++) {
    slice.low[h] = row < experts ? load_weights(at + h * 32) : make_uint4(0, 0, 0, 0);
    slice.high[h] =
        row + 8 < experts ? load_weights(at + 8 * width + h * 32) : make_uint4(0, 0, 0, 0);
  }
}

// The sum over warps of row `expert`, column `token` of the accumulators.
__device__ __forceinline__ float logit_of(const float4 (&of)[kDecodeWarps][kWarpSize], int expert,
                                          int token) {
  const int at = (expert % 8 * 4 + token / 2) * 4 + expert / 8 * 2 + token % 2;
  float sum = 0.0f;
#pragma unroll
  for (int warp = 0; warp < kDecodeWarps; warp++) {
    sum += reinterpret_cast<const float*>(of[warp])[at];
  }
  return sum;
}

__device__ __forceinline__ float silu(float x) { return __fdividef(x, 1.0f + __expf(-x)); }

}  // namespace

extern "C" __global__ void __launch_bounds__(kDecodeThreads, 1)
    decode_gate_up_bf16(__nv_bfloat16* h,              // [T, K, I]
                        int* expert_ids,               // [T, K]
                        float* expert_weights,         // [T, K]
                        const float* residual,         // [T, D]
                        const __nv_bfloat16* gain,     // [D]
                        const __nv_bfloat16* router,   // [E, D]
                        const __nv_bfloat16* weights,  // tiled [E, 2 I, D]
                        const int* slots,              // [T]
                        float eps, int tokens, int hidden, int intermediate, int experts,
                        int per_token) {
  extern __shared__ __align__(16) char shared_tokens[];
  __shared__ UnitSums sums;
  __shared__ SquareSums squares;
  __shared__ Routing routing;
  const int k_tiles = hidden / kTileK;
  const int lane = threadIdx.x % kWarpSize;
  const int warp = threadIdx.x / kWarpSize;
  const char* token_row = lane_token_row(shared_tokens, k_tiles, tokens, lane);
  {
    constexpr int kAhead = 4;
    WeightSlice ahead[kAhead];
#pragma unroll
    for (int q = 0; q < kAhead; q++) {
      if (warp + q * kDecodeWarps < k_tiles) {
        load_router(ahead[q], router, warp + q * kDecodeWarps, experts, hidden, lane);
      }
    }
    prefetch_gain(gain, hidden);
    wait_for_predecessor();
    load_normed(shared_tokens, squares, residual, nullptr, gain, hidden, k_tiles, tokens);
    __syncthreads();
    float acc[4] = {};
    float odd[4] = {};  // two chains of products: the block waits for their latency
    uint4 b[2];
#pragma unroll
    for (int q = 0; q < kAhead; q++) {
      const int k_tile = warp + q * kDecodeWarps;
      if (k_tile < k_tiles) {
        load_tokens(b, token_row, k_tile);
        multiply_slice(q % 2 == 0 ? acc : odd, ahead[q], b);
      }
    }
    for (int k_tile = warp + kAhead * kDecodeWarps; k_tile < k_tiles; k_tile += kDecodeWarps) {
      load_router(ahead[0], router, k_tile, experts, hidden, lane);
      load_tokens(b, token_row, k_tile);
      multiply_slice(acc, ahead[0], b);
    }
    sums.of[0][warp][lane] =
        make_float4(acc[0] + odd[0], acc[1] + odd[1], acc[2] + odd[2], acc[3] + odd[3]);
  }
  __syncthreads();
  if (warp < tokens) {
    const float scale = normed_scale(squares, warp, eps, hidden);
    const float logit = lane < experts ? logit_of(sums.of[0], lane, warp) * scale : 0.0f;
    const int pair = warp * per_token + lane;
    choose_experts(routing.expert + warp * per_token, routing.weight + warp * per_token, logit,
                   experts, per_token, slots[warp] < 0, lane);
    if (blockIdx.x == 0 && lane < per_token) {
      expert_ids[pair] = routing.expert[pair];
      expert_weights[pair] = routing.weight[pair];
      __threadfence();  // before the release: decode_down_bf16 reads ids without waiting
    }
  }
  __syncthreads();
  release_successor();

  const unsigned chosen = chosen_experts(lane < tokens * per_token ? routing.expert[lane] : -1);
  const int units_per_expert = intermediate / 8;
  const size_t expert_bytes = static_cast<size_t>(units_per_expert) * k_tiles * (kTileBytes / 8);
  const int units = __popc(chosen) * units_per_expert;
  const int first = blockIdx.x;
  const int step = gridDim.x;
  const auto base = [&](int i) {
    const int unit = first + i * step;
    const int row16 = unit % units_per_expert;
    return reinterpret_cast<const char*>(weights) +
           nth_expert(chosen, unit / units_per_expert) * expert_bytes +
           static_cast<size_t>(row16 / 8) * k_tiles * kTileBytes + row16 % 8 * (16 * kRowBytes);
  };
  const int count = first < units ? (units - first - 1) / step + 1 : 0;
  WeightStream<kPlainGap> stream(k_tiles);
  stream.start(count > 0 ? base(0) : nullptr);
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
          const float scale = normed_scale(squares, token, eps, hidden);
          const float gate = (c == 0 ? sum.x : sum.y) * scale;
          const float up = (c == 0 ? sum.z : sum.w) * scale;
          h[static_cast<size_t>(pair) * intermediate + column] =
              __float2bfloat16(routing.weight[pair] * silu(gate) * up);
        }
      }
    }
  });
}

// ---- down ---------------------------------------------------------------------------------------

namespace {

// The chosen experts in ascending order and, for each, the row of h of every token (-1: none).
struct ChosenExperts {
  int count;
  int expert[kMaxExperts];
  int pair[kMaxExperts][kDecodeTokens];
};

// Every thread of the block must call it. Ids come from L2: their writer may still be running.
__device__ __forceinline__ void find_chosen(ChosenExperts& out, const int* expert_ids, int tokens,
                                            int per_token) {
  const int lane = threadIdx.x;
  if (threadIdx.x < kMaxExperts * kDecodeTokens) {
    out.pair[threadIdx.x / kDecodeTokens][threadIdx.x % kDecodeTokens] = -1;
  }
  __syncthreads();
  if (threadIdx.x < kWarpSize) {
    int expert = -1;
    if (lane < tokens * per_token) {
      asm volatile("ld.relaxed.gpu.global.s32 %0, [%1];" : "=r"(expert) : "l"(expert_ids + lane));
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

// Down's 32 weight rows of one k tile, and the tokens' chunks of it straight from L2.
struct DownSlice {
  WeightSlice rows[2];
  uint4 tokens[2];
};

class DownStream {
 public:
  static constexpr int kDepth = 2;

  __device__ __forceinline__ DownStream(const ChosenExperts& chosen, const __nv_bfloat16* h,
                                        int intermediate, size_t expert_bytes)
      : chosen_(chosen),
        h_(h),
        expert_bytes_(expert_bytes),
        intermediate_(intermediate),
        warp_(threadIdx.x / kWarpSize),
        lane_(threadIdx.x % kWarpSize) {
    const int k_tiles = intermediate / kTileK;
    steps_ = k_tiles > warp_ ? ceil_div(k_tiles - warp_, kDecodeWarps) : 0;
    total_ = steps_ * chosen.count;
    offset_ = lane_offset(lane_) + warp_ * kTileBytes;
    other_ = (offset_ & 64) ? -64 : 64;
  }

  __device__ __forceinline__ void start_weights(const char* unit) {
#pragma unroll
    for (int q = 0; q < kDepth; q++) {
      if (q < total_) {
        load_weight_rows(ring_[q], unit, q / steps_, q % steps_);
      }
    }
  }

  __device__ __forceinline__ void start_tokens() {
#pragma unroll
    for (int q = 0; q < kDepth; q++) {
      if (q < total_) {
        load_token_chunks(ring_[q], q / steps_, q % steps_);
      }
    }
  }

  __device__ __forceinline__ void run(float (&acc)[2][4], const char* unit) {
    int index = steps_ > 0 ? kDepth / steps_ : 0;  // what is loaded next
    int step = steps_ > 0 ? kDepth % steps_ : 0;
    for (int done = 0; done < total_; done += kDepth) {
#pragma unroll
      for (int q = 0; q < kDepth; q++) {
        if (done + q < total_) {
          multiply_slice(acc[0], ring_[q].rows[0], ring_[q].tokens);
          multiply_slice(acc[1], ring_[q].rows[1], ring_[q].tokens);
          if (done + q + kDepth < total_) {
            load_weight_rows(ring_[q], unit, index, step);
            load_token_chunks(ring_[q], index, step);
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
  __device__ __forceinline__ void load_weight_rows(DownSlice& slice, const char* unit, int index,
                                                   int step) {
    const char* at =
        unit + chosen_.expert[index] * expert_bytes_ + offset_ + step * kDecodeWarps * kTileBytes;
    load_slice(slice.rows[0], at, other_, kPlainGap);
    load_slice(slice.rows[1], at + 16 * kRowBytes, other_, kPlainGap);
  }

  __device__ __forceinline__ void load_token_chunks(DownSlice& slice, int index, int step) {
    const int pair = chosen_.pair[index][lane_ / 4];
    slice.tokens[0] = slice.tokens[1] = make_uint4(0, 0, 0, 0);
    if (pair >= 0) {
      const __nv_bfloat16* at = h_ + static_cast<size_t>(pair) * intermediate_ +
                                (warp_ + step * kDecodeWarps) * kTileK + lane_ % 4 * kChunk;
      slice.tokens[0] = load_written(at);
      slice.tokens[1] = load_written(at + kTileK / 2);
    }
  }

  const ChosenExperts& chosen_;
  const __nv_bfloat16* h_;
  const size_t expert_bytes_;
  const int intermediate_;
  const int warp_;
  const int lane_;
  int steps_;  // k tiles of this warp in one expert
  int total_;  // in all of them
  int offset_;
  int other_;
  DownSlice ring_[kDepth];
};

}  // namespace

extern "C" __global__ void __launch_bounds__(kDecodeThreads, 1)
    decode_down_bf16(float* residual,               // [T, D]
                     const __nv_bfloat16* h,        // [T, K, I]
                     const int* expert_ids,         // [T, K]
                     const __nv_bfloat16* weights,  // tiled [E, D, I]
                     int tokens, int hidden, int intermediate, int per_token) {
  __shared__ UnitSums sums;
  __shared__ ResidualRows own;
  __shared__ ChosenExperts chosen;
  const int lane = threadIdx.x % kWarpSize;
  const int warp = threadIdx.x / kWarpSize;
  const int k_tiles = intermediate / kTileK;
  find_chosen(chosen, expert_ids, tokens, per_token);
  DownStream stream(chosen, h, intermediate,
                    static_cast<size_t>(ceil_div(hidden, kTileRows)) * k_tiles * kTileBytes);
  bool waited = false;
  for (int pair = blockIdx.x; pair < hidden / 32; pair += gridDim.x) {
    const char* unit = reinterpret_cast<const char*>(weights) +
                       static_cast<size_t>(pair / 4) * k_tiles * kTileBytes +
                       pair % 4 * (32 * kRowBytes);
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
      sums.of[block][warp][lane] =
          make_float4(acc[block][0], acc[block][1], acc[block][2], acc[block][3]);
    }
    __syncthreads();
    if (warp < 2) {
      const float4 sum = sum_warps(sums.of[warp], lane);
      const int row = lane / 4;
#pragma unroll
      for (int c = 0; c < 2; c++) {
        const int token = lane % 4 * 2 + c;
        if (token < tokens) {
          float* to = residual + static_cast<size_t>(token) * hidden + pair * 32 + warp * 16 + row;
          own.add(to, warp, tokens, token, row, c == 0 ? sum.x : sum.y);
          own.add(to + 8, warp, tokens, token, row + 8, c == 0 ? sum.z : sum.w);
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
