// What surrounds the experts' GEMMs (Kernels.expertFeedForward): which rows go where, and back.
//
//   expert_plan_i32       stable count-sort of the (token, slot) pairs by expert, and the plan
//   expert_gather_bf16    rows of x into token tiles, once per pair
//   expert_combine_bf16   out[t] = sum over slots of weight * row, fp32 in slot order, to bf16
//   expert_combine_f32    the same, to fp32
//   expert_combine_add_f32   the same, added to what is there (Kernels.addExpertFeedForward)
//   ..._of_bf16           all three, of rows in bf16
//
// Legend: T tokens, K experts per token, E experts, D hidden. pair = token * K + slot. Padded rows:
// the experts' rows one after the other, each expert padded to whole token tiles
// (grouped_plan.cuh); padded_capacity = max_padded_rows(T K, E, max_tile_rows) bounds them for
// every routing.
//
// Launches, in this order on one stream, before and after expert_gemm.cu:
//   expert_plan_i32: grid E, block 1024, dynamic shared memory 132 E bytes (E at most 372).
//     Arguments: (plan pointer, pair_row pointer, row_pair pointer, expert_ids pointer,
//     int pairs = T K, int experts, int max_tile_rows = 256).
//   expert_gather_bf16: block 256, grid (ceil(padded_capacity / 8), ceil(ceil(D / 64) / 8)), no
//     dynamic shared memory. Arguments: (tiles pointer, x pointer, plan pointer, row_pair pointer,
//     int experts, int experts_per_token, int width = D).
//   expert_combine_*: grid T, block 256 (any multiple of 32). Arguments: (out pointer, rows
//   pointer,
//     pair_row pointer, expert_weights pointer, int experts_per_token, int width = D). out may be
//     the x of the gather.
//
// Deterministic: the order of rows within an expert is that of the pairs, whatever the timing.

#include "tile_rows.cuh"

namespace {

constexpr int kPlanThreads = 1024;
constexpr int kPlanWarps = kPlanThreads / kWarpSize;
constexpr unsigned kAllLanes = 0xffffffffu;

// counts[w][e] = pairs of expert e in warp w's run of consecutive pairs. Warps count apart, so that
// places within an expert follow from the counts of the warps before.
__device__ void count_experts(int* counts, const int* expert_ids, int begin, int end, int experts) {
  const int lane = threadIdx.x % kWarpSize;
  int* own = counts + threadIdx.x / kWarpSize * experts;
  for (int e = lane; e < experts; e += kWarpSize) {
    own[e] = 0;
  }
  __syncwarp();
  constexpr int kAhead = 4;  // loads in flight
  for (int first = begin; first < end; first += kAhead * kWarpSize) {
    int expert[kAhead];
#pragma unroll
    for (int i = 0; i < kAhead; i++) {
      const int pair = first + i * kWarpSize + lane;
      expert[i] = pair < end ? expert_ids[pair] : -1;
    }
#pragma unroll
    for (int i = 0; i < kAhead; i++) {
      const unsigned same = __match_any_sync(kAllLanes, expert[i]);
      if (expert[i] >= 0 && lane == __ffs(same) - 1) {
        own[expert[i]] += __popc(same);
      }
      __syncwarp();
    }
  }
}

// A pair's row of the down projection, eight columns of it, added with its weight.
__device__ __forceinline__ void add_weighted(float (&sum)[kChunk], const float* from,
                                             float weight) {
#pragma unroll
  for (int i = 0; i < kChunk; i += 4) {
    const float4 values = *reinterpret_cast<const float4*>(from + i);
    sum[i] = fmaf(weight, values.x, sum[i]);
    sum[i + 1] = fmaf(weight, values.y, sum[i + 1]);
    sum[i + 2] = fmaf(weight, values.z, sum[i + 2]);
    sum[i + 3] = fmaf(weight, values.w, sum[i + 3]);
  }
}

__device__ __forceinline__ void add_weighted(float (&sum)[kChunk], const __nv_bfloat16* from,
                                             float weight) {
  float values[kChunk];
  unpack(*reinterpret_cast<const Bf16x8*>(from), values);
#pragma unroll
  for (int i = 0; i < kChunk; i++) {
    sum[i] = fmaf(weight, values[i], sum[i]);
  }
}

__device__ __forceinline__ void store(__nv_bfloat16* to, const float (&sum)[kChunk]) {
  *reinterpret_cast<Bf16x8*>(to) = pack(sum);
}

__device__ __forceinline__ void store(float* to, const float (&sum)[kChunk]) {
  reinterpret_cast<float4*>(to)[0] = make_float4(sum[0], sum[1], sum[2], sum[3]);
  reinterpret_cast<float4*>(to)[1] = make_float4(sum[4], sum[5], sum[6], sum[7]);
}

__device__ __forceinline__ void store(__nv_bfloat16* to, float sum) { *to = __float2bfloat16(sum); }

__device__ __forceinline__ void store(float* to, float sum) { *to = sum; }

// With kAdds, what a token's sum is added to.
template <bool kAdds, class Out>
__device__ __forceinline__ void read_before(float (&values)[kChunk], const Out* from) {
  if constexpr (kAdds) {
    const float4 low = reinterpret_cast<const float4*>(from)[0];
    const float4 high = reinterpret_cast<const float4*>(from)[1];
    values[0] = low.x, values[1] = low.y, values[2] = low.z, values[3] = low.w;
    values[4] = high.x, values[5] = high.y, values[6] = high.z, values[7] = high.w;
  }
}

// kAdds: a token's experts are summed before out takes them.
template <bool kAdds, class Out, class Row>
__device__ __forceinline__ void combine(Out* out, const Row* rows, const int* pair_row,
                                        const float* expert_weights, int experts_per_token,
                                        int width) {
  const size_t token = blockIdx.x;
  const int* row_of = pair_row + token * experts_per_token;
  const float* weight_of = expert_weights + token * experts_per_token;
  Out* to = out + token * width;
  const int packed = width % kChunk == 0 ? width : 0;  // rows of other widths are not aligned
  for (int at = threadIdx.x * kChunk; at < packed; at += blockDim.x * kChunk) {
    float before[kChunk];
    read_before<kAdds>(before, to + at);
    float sum[kChunk] = {};
    for (int slot = 0; slot < experts_per_token; slot++) {
      if (row_of[slot] >= 0) {
        add_weighted(sum, rows + static_cast<size_t>(row_of[slot]) * width + at, weight_of[slot]);
      }
    }
#pragma unroll
    for (int i = 0; i < kChunk; i++) {
      sum[i] = kAdds ? before[i] + sum[i] : sum[i];
    }
    store(to + at, sum);
  }
  for (int at = packed + threadIdx.x; at < width; at += blockDim.x) {
    float sum = 0.0f;
    for (int slot = 0; slot < experts_per_token; slot++) {
      if (row_of[slot] >= 0) {
        const size_t from = static_cast<size_t>(row_of[slot]) * width + at;
        sum = fmaf(weight_of[slot], static_cast<float>(rows[from]), sum);
      }
    }
    store(to + at, kAdds ? static_cast<float>(to[at]) + sum : sum);
  }
}

}  // namespace

// Block e places the pairs of expert e; every block counts all pairs, which costs less than another
// launch.
extern "C" __global__ void __launch_bounds__(kPlanThreads)
    expert_plan_i32(GroupPlan* plan,        // plan_bytes(E)
                    int* pair_row,          // [T K]: padded row of each pair, -1 for none
                    int* row_pair,          // [padded rows]: pair of each row, -1 for padding
                    const int* expert_ids,  // [T, K], each 0 to E - 1, or -1 for nobody
                    int pairs, int experts, int max_tile_rows) {
  extern __shared__ int counts[];  // [warps + 1][E]; the last row is the total
  const int warp = threadIdx.x / kWarpSize;
  const int lane = threadIdx.x % kWarpSize;
  const int run = ceil_div(ceil_div(pairs, kPlanWarps), kWarpSize) * kWarpSize;
  const int begin = min(warp * run, pairs);
  const int end = min(begin + run, pairs);
  count_experts(counts, expert_ids, begin, end, experts);
  __syncthreads();
  int* totals = counts + kPlanWarps * experts;
  for (int e = threadIdx.x; e < experts; e += kPlanThreads) {
    int total = 0;
    for (int w = 0; w < kPlanWarps; w++) {
      total += counts[w * experts + e];
    }
    totals[e] = total;
  }
  __syncthreads();
  const int expert = blockIdx.x;
  const GroupPlan shape = plan_group(0, totals[expert], max_tile_rows);
  int first_row = 0;
  int taller = 0;
  for (int e = 0; e < experts; e++) {
    const GroupPlan other = plan_group(0, totals[e], max_tile_rows);
    first_row += e < expert ? other.tiles * other.tile_rows : 0;
    taller +=
        other.tile_rows > shape.tile_rows || (other.tile_rows == shape.tile_rows && e < expert);
  }
  const int padded = shape.tiles * shape.tile_rows;
  if (threadIdx.x == 0) {
    plan[expert] = {first_row, shape.rows, shape.tile_rows, shape.tiles};
    plan_order(plan, experts)[taller] = expert;
    if (expert == experts - 1) {
      plan[experts] = {first_row + padded, 0, 0, 0};
    }
  }
  int row = first_row;
  for (int w = 0; w < warp; w++) {
    row += counts[w * experts + expert];
  }
  for (int first = begin; first < end; first += kWarpSize) {
    const int pair = first + lane;
    const int id = pair < end ? expert_ids[pair] : -1;
    const bool mine = id == expert;
    const unsigned all = __ballot_sync(kAllLanes, mine);
    if (expert == 0 && pair < end && id < 0) {
      pair_row[pair] = -1;
    }
    if (mine) {
      const int at = row + __popc(all & ((1u << lane) - 1));
      pair_row[pair] = at;
      row_pair[at] = pair;
    }
    row += __popc(all);
  }
  for (int at = shape.rows + threadIdx.x; at < padded; at += kPlanThreads) {
    row_pair[first_row + at] = -1;
  }
}

extern "C" __global__ void expert_gather_bf16(__nv_bfloat16* tiles,    // tiled [padded rows, D]
                                              const __nv_bfloat16* x,  // [T, D]
                                              const GroupPlan* plan,   // [E + 1]
                                              const int* row_pair,     // [padded rows]
                                              int experts, int experts_per_token, int width) {
  const int row = blockIdx.x * kRowsPerBlock + tile_rows_row();
  const int expert = expert_of(plan, experts, row);
  if (expert == experts) {
    return;
  }
  const int pair = row_pair[row];
  const __nv_bfloat16* from =
      pair < 0 ? nullptr : x + static_cast<size_t>(pair / experts_per_token) * width;
  tile_row(tiles, from, row, plan[expert], width);
}

#define GREGALE_COMBINE(name, kAdds, Out, Row)                                                   \
  extern "C" __global__ void expert_combine_##name(Out* out,                    /* [T, D] */       \
                                                   const Row* rows,             /* [padded, D] */  \
                                                   const int* pair_row,         /* [T, K] */       \
                                                   const float* expert_weights, /* [T, K] */       \
                                                   int experts_per_token, int width) {           \
    combine<kAdds>(out, rows, pair_row, expert_weights, experts_per_token, width);               \
  }

GREGALE_COMBINE(bf16, false, __nv_bfloat16, float)
GREGALE_COMBINE(f32, false, float, float)
GREGALE_COMBINE(add_f32, true, float, float)
GREGALE_COMBINE(bf16_of_bf16, false, __nv_bfloat16, __nv_bfloat16)
GREGALE_COMBINE(f32_of_bf16, false, float, __nv_bfloat16)
GREGALE_COMBINE(add_f32_of_bf16, true, float, __nv_bfloat16)
