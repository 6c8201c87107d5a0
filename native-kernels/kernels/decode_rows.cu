// What stands between the GEMMs of a decode step of more than 8 tokens (decode_gemm.cu): one row or
// a quarter of a row to a block, everything from L2. decode_route_bf16 also serves larger batches.
//
//   decode_norm_tiles_bf16        token tile <- rmsNorm(residual)
//   decode_qkv_parts_bf16         queries, cache <- rope(sum of parts): ropeAndCacheKv
//   decode_add_parts_f32          residual += sum of parts
//   decode_route_bf16             rmsNorm, matmul(router), routeTopK of one row
//   decode_plan_tiles_bf16        the chosen experts' token tiles and the plan of their GEMMs
//   decode_combine_parts_f32      residual[t] += sum over k of w[t, k] * down's row of (t, k)
//
// Where GEMMs keep K whole, a row has the bits that the larger ops give it (rms_norm, matmul,
// rope_and_cache_kv, the experts' combine, add): the arithmetic is the same, in the same order.
// decode_route_bf16 takes any number of tokens: no smaller ops route with its bits, or as fast.
//
// Legend: T tokens (at most 256; T K at most 512), D hidden, H query heads, G KV heads, d head dim,
// E experts (at most 16), K experts per token. Layouts: tiled_layout.cuh, kv_layout.cuh; the plan:
// grouped_plan.cuh, one token tile an expert. Parts are added in ascending order. Restrictions,
// checked by the caller: D a multiple of 64, pointers 16-byte aligned. Tokens with slot -1 are
// padding: no cache is written, no expert chosen (id -1, weight 0), the residual stays. Of experts
// whose weights are on another device (all but own_experts from first_expert on) a plan has none.
//
// Parts of n_tile (rows of the weight / 128): from n_tile k_tiles / steps to
// ((n_tile + 1) k_tiles - 1) / steps of the line that decode_gemm.cu cuts.
//
// Launch: see each kernel. No dynamic shared memory except where named. Programmatic dependent
// launch is optional.

#include "choose_experts.cuh"
#include "decode_stream.cuh"
#include "grouped_plan.cuh"
#include "kv_layout.cuh"
#include "rms_norm.cuh"
#include "rope.cuh"

namespace {

constexpr int kRowThreads = 256;
constexpr int kRowWarps = kRowThreads / kWarpSize;

// The parts of a GEMM's result: [parts, rows, width].
struct Parts {
  const float* first;
  size_t stride;  // elements of one part
  int width;
  int k_tiles;
  int steps;

  __device__ __forceinline__ int count(int column) const {
    const int n_tile = column / kTileRows;
    return ((n_tile + 1) * k_tiles - 1) / steps - n_tile * k_tiles / steps + 1;
  }

  // In ascending order, four loads at a time.
  __device__ __forceinline__ float4 sum4(int row, int column) const {
    constexpr int kAtOnce = 4;
    const float* at = first + static_cast<size_t>(row) * width + column;
    const int parts = count(column);
    float4 sum = make_float4(0, 0, 0, 0);
    for (int part = 0; part < parts; part += kAtOnce) {
      float4 v[kAtOnce];
#pragma unroll
      for (int i = 0; i < kAtOnce; i++) {
        v[i] = part + i < parts ? load_written_float4(at + (part + i) * stride)
                                : make_float4(0, 0, 0, 0);
      }
#pragma unroll
      for (int i = 0; i < kAtOnce; i++) {
        sum.x += v[i].x, sum.y += v[i].y, sum.z += v[i].z, sum.w += v[i].w;
      }
    }
    return sum;
  }
};

__device__ __forceinline__ void read_row(float (&values)[kChunk], const float* row, int at) {
  const float4 low = load_written_float4(row + at);
  const float4 high = load_written_float4(row + at + 4);
  values[0] = low.x, values[1] = low.y, values[2] = low.z, values[3] = low.w;
  values[4] = high.x, values[5] = high.y, values[6] = high.z, values[7] = high.w;
}

__device__ __forceinline__ void store_four(__nv_bfloat16* to, float a, float b, float c, float d) {
  const __nv_bfloat162 pair[2] = {__floats2bfloat162_rn(a, b), __floats2bfloat162_rn(c, d)};
  *reinterpret_cast<uint2*>(to) = *reinterpret_cast<const uint2*>(pair);
}

// A thread's first columns of a row, or of the gains, read before they are needed.
constexpr int kColumnsAhead = 2;  // chunks: all of 4,096 columns
struct Ahead {
  float of[kColumnsAhead][kChunk];

  __device__ __forceinline__ Ahead(const float* row, int width) {
#pragma unroll
    for (int i = 0; i < kColumnsAhead; i++) {
      const int at = (i * kRowThreads + threadIdx.x) * kChunk;
      if (at < width) {
        read_row(of[i], row, at);
      }
    }
  }
};

// Brings a row into L2.
__device__ __forceinline__ void prefetch_row(const float* row, int width) {
  for (int at = threadIdx.x * kChunk; at < width; at += kRowThreads * kChunk) {
    asm volatile("prefetch.global.L2 [%0];" ::"l"(row + at));
  }
}

// rmsNorm of a row by a block; store(at, chunk) takes each chunk of 8 columns. Columns that were
// read ahead stay in registers between the two passes.
template <class Store>
__device__ __forceinline__ void norm_row(const float* row, Ahead& row_ahead, const float* gain,
                                         const Ahead& gain_ahead, int width, float eps,
                                         const Store& store) {
  constexpr int kStep = kRowThreads * kChunk;
  const int first = threadIdx.x * kChunk;
  float values[kChunk];
  float sum = 0.0f;
#pragma unroll
  for (int i = 0; i < kColumnsAhead; i++) {
    if (first + i * kStep < width) {
      sum = add_squares(sum, row_ahead.of[i]);
    }
  }
  for (int at = first + kColumnsAhead * kStep; at < width; at += kStep) {
    read_row(values, row, at);
    sum = add_squares(sum, values);
  }
  const float scale = norm_scale(sum, width, eps);
#pragma unroll
  for (int i = 0; i < kColumnsAhead; i++) {
    if (first + i * kStep < width) {
      store(first + i * kStep, normed(row_ahead.of[i], gain_ahead.of[i], scale));
    }
  }
  for (int at = first + kColumnsAhead * kStep; at < width; at += kStep) {
    float gains[kChunk];
    read_row(values, row, at);
    read_row(gains, gain, at);
    store(at, normed(values, gains, scale));
  }
}

// fp32, as a product in bf16 would have left it.
__device__ __forceinline__ float4 rounded(float4 v) {
  return make_float4(__bfloat162float(__float2bfloat16(v.x)), __bfloat162float(__float2bfloat16(v.y)),
                     __bfloat162float(__float2bfloat16(v.z)),
                     __bfloat162float(__float2bfloat16(v.w)));
}

// Four columns of the residual, if there are so many. They are read before the wait, so what wrote
// them must be older than the kernel directly before.
__device__ __forceinline__ float4 older_columns(const float4* of, bool there) {
  return there ? load_written_float4(reinterpret_cast<const float*>(of))
               : make_float4(0, 0, 0, 0);
}

// Keeps the compiler from unpacking weights before a loop, into twice the registers.
__device__ __forceinline__ void keep_packed(uint4& weights) {
  asm volatile("" : "+r"(weights.x), "+r"(weights.y), "+r"(weights.z), "+r"(weights.w));
}

// sum + the products of the chunk at column `at` of a row of bf16 in shared memory with weights.
__device__ __forceinline__ float add_product(float sum, const char* row, int at, uint4 weights) {
  float a[kChunk];
  float b[kChunk];
  unpack(*reinterpret_cast<const Bf16x8*>(row + at * 2), a);
  unpack(*reinterpret_cast<const Bf16x8*>(&weights), b);
#pragma unroll
  for (int i = 0; i < kChunk; i++) {
    sum = fmaf(a[i], b[i], sum);
  }
  return sum;
}

// The same for a lane's chunks from column `first` on, with an expert's row of the router. Many rows
// read it, so it may stay in L1.
__device__ __forceinline__ float add_products(float sum, const char* row,
                                              const __nv_bfloat16* weights, int first, int width) {
#pragma unroll 4
  for (int at = first; at < width; at += kWarpSize * kChunk) {
    sum = add_product(sum, row, at, __ldg(reinterpret_cast<const uint4*>(weights + at)));
  }
  return sum;
}

// Chunk `chunk` of row `row` of a token tile of `rows` rows.
__device__ __forceinline__ Bf16x8* tile_chunk(__nv_bfloat16* tile, int rows, int row, int chunk) {
  return reinterpret_cast<Bf16x8*>(token_chunk(tile, rows, row, chunk));
}

}  // namespace

// Grid rows, block 256.
extern "C" __global__ void __launch_bounds__(kRowThreads)
    decode_norm_tiles_bf16(__nv_bfloat16* tile,        // token tile [tile_rows, D]
                           const float* residual,      // [T, D]
                           const int* row_ids,         // [rows] rows of residual; null: in order
                           const float* gain,          // [D]
                           float eps, int hidden, int tile_rows) {
  const Ahead gains(gain, hidden);
  wait_for_predecessor();
  release_successor();
  const int from = row_ids == nullptr ? blockIdx.x : row_ids[blockIdx.x];
  const float* row = residual + static_cast<size_t>(from) * hidden;
  Ahead columns(row, hidden);
  norm_row(row, columns, gain, gains, hidden, eps,
           [&](int at, const Bf16x8& chunk) {
             *tile_chunk(tile, tile_rows, blockIdx.x, at / kChunk) = chunk;
           });
}

// Grid (ceil((H + 2G) d / 8 / 256), T), block 256: a thread turns rows i to i + 3 of a head with
// rows i + d/2 to i + d/2 + 3. rounds: sums become bf16 before they turn, as they do between matmul
// and ropeAndCacheKv.
extern "C" __global__ void __launch_bounds__(kRowThreads)
    decode_qkv_parts_bf16(__nv_bfloat16* queries,   // [T, H d] in rows of query_stride elements
                          __nv_bfloat16* keys,      // cache
                          __nv_bfloat16* values,    // cache
                          const float* parts,       // [parts, T, (H + 2G) d]
                          const float* rope_table,  // [positions, d]
                          const int* positions,     // [T]
                          const int* slots,         // [T]
                          int query_stride, int tokens, int heads, int kv_heads, int head_dim,
                          int block_size, int k_tiles, int steps, int rounds) {
  const int half = head_dim / 2;
  const int pair = (blockIdx.x * kRowThreads + threadIdx.x) * 4;
  const int head = pair / half;
  const int column = pair % half;
  const int token = blockIdx.y;
  const int slot = slots[token];
  const bool turns = head < heads + kv_heads && slot >= 0;
  float4 cosine = make_float4(1, 1, 1, 1);
  float4 sine = make_float4(0, 0, 0, 0);
  if (turns) {
    const float* angles = rope_table + static_cast<size_t>(positions[token]) * head_dim + column;
    cosine = *reinterpret_cast<const float4*>(angles);
    sine = *reinterpret_cast<const float4*>(angles + half);
  }
  wait_for_predecessor();
  release_successor();
  if (head >= heads + 2 * kv_heads) {
    return;
  }
  const int width = (heads + 2 * kv_heads) * head_dim;
  const Parts sums{parts, static_cast<size_t>(tokens) * width, width, k_tiles, steps};
  float4 low = sums.sum4(token, head * head_dim + column);
  float4 high = sums.sum4(token, head * head_dim + column + half);
  if (rounds != 0) {
    low = rounded(low);
    high = rounded(high);
  }
  __nv_bfloat16* to_low;
  __nv_bfloat16* to_high;
  if (head < heads) {
    to_low = queries + static_cast<size_t>(token) * query_stride + head * head_dim + column;
    to_high = to_low + half;
  } else if (slot >= 0) {
    const bool is_key = head < heads + kv_heads;
    __nv_bfloat16* cache = is_key ? keys : values;
    const int kv_head = head - heads - (is_key ? 0 : kv_heads);
    const int block = slot / block_size;
    const int at = slot % block_size;
    to_low = cache + kv_element(block, kv_head, at, column, kv_heads, block_size, head_dim);
    to_high = cache + kv_element(block, kv_head, at, column + half, kv_heads, block_size, head_dim);
  } else {
    return;
  }
  store_four(to_low, turned_low(low.x, high.x, cosine.x, sine.x),
             turned_low(low.y, high.y, cosine.y, sine.y),
             turned_low(low.z, high.z, cosine.z, sine.z),
             turned_low(low.w, high.w, cosine.w, sine.w));
  store_four(to_high, turned_high(low.x, high.x, cosine.x, sine.x),
             turned_high(low.y, high.y, cosine.y, sine.y),
             turned_high(low.z, high.z, cosine.z, sine.z),
             turned_high(low.w, high.w, cosine.w, sine.w));
}

// Grid (ceil(D / 1024), T), block 256. The residual: older_columns.
extern "C" __global__ void __launch_bounds__(kRowThreads)
    decode_add_parts_f32(float* residual,     // [T, D]
                         const float* parts,  // [parts, T, D]
                         int tokens, int hidden, int k_tiles, int steps) {
  const int column = (blockIdx.x * kRowThreads + threadIdx.x) * 4;
  float4* to =
      reinterpret_cast<float4*>(residual + static_cast<size_t>(blockIdx.y) * hidden + column);
  float4 v = older_columns(to, column < hidden);
  wait_for_predecessor();
  release_successor();
  if (column >= hidden) {
    return;
  }
  const Parts sums{parts, static_cast<size_t>(tokens) * hidden, hidden, k_tiles, steps};
  const float4 sum = sums.sum4(blockIdx.y, column);
  v.x += sum.x, v.y += sum.y, v.z += sum.z, v.w += sum.w;
  *to = v;
}

// Grid at most 2 blocks a multiprocessor, of 256; each takes every gridDim.x-th row. Dynamic shared
// memory 2 D bytes: the row as the experts will read it. A warp keeps its first expert's row of the
// router in registers, so that many rows read it once.
extern "C" __global__ void __launch_bounds__(kRowThreads, 2)
    decode_route_bf16(__nv_bfloat16* normed,        // [T, D]
                      int* expert_ids,              // [T, K]
                      float* expert_weights,        // [T, K]
                      const float* residual,        // [T, D]
                      const float* gain,            // [D]
                      const __nv_bfloat16* router,  // [E, D]
                      const int* slots,             // [T]
                      float eps, int tokens, int hidden, int experts, int per_token) {
  extern __shared__ __align__(16) char shared_row[];
  __shared__ float logits[kMaxExperts];
  const int lane = threadIdx.x % kWarpSize;
  const int warp = threadIdx.x / kWarpSize;
  constexpr int kKept = 16;  // chunks of a lane: 4,096 columns of its warp's first expert
  const __nv_bfloat16* own = router + static_cast<size_t>(warp) * hidden;
  uint4 kept[kKept];
#pragma unroll
  for (int i = 0; i < kKept; i++) {
    const int at = (i * kWarpSize + lane) * kChunk;
    if (warp < experts && at < hidden) {
      kept[i] = load_weights(own + at);
    }
  }
  const Ahead gains(gain, hidden);
  wait_for_predecessor();
  release_successor();
  const auto row_of = [&](int token) { return residual + static_cast<size_t>(token) * hidden; };
  for (int token = blockIdx.x; token < tokens; token += gridDim.x) {
    if (token + static_cast<int>(gridDim.x) < tokens) {  // the block's next
      prefetch_row(row_of(token + gridDim.x), hidden);
    }
    Ahead columns(row_of(token), hidden);
    norm_row(row_of(token), columns, gain, gains, hidden, eps, [&](int at, const Bf16x8& chunk) {
      *reinterpret_cast<Bf16x8*>(shared_row + at * 2) = chunk;
      *reinterpret_cast<Bf16x8*>(normed + static_cast<size_t>(token) * hidden + at) = chunk;
    });
    __syncthreads();  // the row is there
    float sum = 0.0f;
#pragma unroll
    for (int i = 0; i < kKept; i++) {
      const int at = (i * kWarpSize + lane) * kChunk;
      keep_packed(kept[i]);
      if (at < hidden) {
        sum = add_product(sum, shared_row, at, kept[i]);
      }
    }
    int first = (kKept * kWarpSize + lane) * kChunk;  // column of what is not kept
    for (int expert = warp; expert < experts; expert += kRowWarps) {
      const __nv_bfloat16* weights = router + static_cast<size_t>(expert) * hidden;
      sum = warp_sum(add_products(sum, shared_row, weights, first, hidden));
      if (lane == 0) {
        logits[expert] = sum;
      }
      sum = 0.0f;
      first = lane * kChunk;
    }
    __syncthreads();  // the logits are there; norm_scale keeps warps from the next row's meanwhile
    if (warp == 0) {
      choose_experts(expert_ids + token * per_token, expert_weights + token * per_token,
                     lane < experts ? logits[lane] : 0.0f, experts, per_token, slots[token] < 0,
                     lane);
    }
  }
}

// Grid T, block 512 (a thread for each pair): every block counts all pairs, then copies its row to
// the tiles of its experts. The order of an expert's rows is that of the tokens.
extern "C" __global__ void __launch_bounds__(512)
    decode_plan_tiles_bf16(__nv_bfloat16* tiles,         // token tiles [padded rows, D]
                           GroupPlan* plan,              // [own_experts]
                           int* rows_of,                 // [T, K] padded row of each pair, or -1
                           const __nv_bfloat16* normed,  // [T, D]
                           const int* expert_ids,        // [T, K]
                           int tokens, int hidden, int per_token, int first_expert,
                           int own_experts) {
  wait_for_predecessor();
  release_successor();
  const int token = blockIdx.x;
  const int pair = threadIdx.x;
  const uint4* row = reinterpret_cast<const uint4*>(normed + static_cast<size_t>(token) * hidden);
  const int chunks = hidden / kChunk;
  const int first = threadIdx.x;
  // Read while the pairs are counted.
  const uint4 ahead = first < chunks ? load_written(row + first) : uint4{};
  const int expert = pair < tokens * per_token
                         ? own_expert(expert_ids[pair], first_expert, own_experts)
                         : -1;
  GroupPlan own{0, 0, 0, 0};  // thread e: expert e's
  int first_row = 0;
  for (int e = 0; e < own_experts; e++) {
    const GroupPlan group = plan_group(first_row, __syncthreads_count(expert == e), kMaxTileRows);
    first_row += group.tiles * group.tile_rows;
    own = static_cast<int>(threadIdx.x) == e ? group : own;
  }
  __shared__ GroupPlan groups[kMaxExperts];
  if (static_cast<int>(threadIdx.x) < own_experts) {
    groups[threadIdx.x] = own;
    if (token == 0) {
      plan[threadIdx.x] = own;
    }
  }
  __syncthreads();
  for (int k = 0; k < per_token; k++) {
    const int mine = token * per_token + k;
    const int to = own_expert(expert_ids[mine], first_expert, own_experts);
    const int before = __syncthreads_count(expert == to && pair < mine);
    if (threadIdx.x == 0) {
      rows_of[mine] = to < 0 ? -1 : groups[to].first_row + before;
    }
    if (to < 0) {
      continue;
    }
    __nv_bfloat16* tile = tiles + static_cast<size_t>(groups[to].first_row) * hidden;
    for (int chunk = first; chunk < chunks; chunk += blockDim.x) {
      const uint4 v = chunk == first ? ahead : load_written(row + chunk);
      *reinterpret_cast<uint4*>(tile_chunk(tile, groups[to].tile_rows, before, chunk)) = v;
    }
  }
}

// Grid (ceil(D / 1024), T), block 256. A token's experts are summed before the residual takes them. The
// residual: older_columns.
extern "C" __global__ void __launch_bounds__(kRowThreads)
    decode_combine_parts_f32(float* residual,              // [T, D]
                             const float* parts,           // [parts, part_rows, D]
                             const int* rows_of,           // [T, K]
                             const float* expert_weights,  // [T, K]
                             int hidden, int per_token, int part_rows, int k_tiles, int steps) {
  const int column = (blockIdx.x * kRowThreads + threadIdx.x) * 4;
  const int token = blockIdx.y;
  float4* to = reinterpret_cast<float4*>(residual + static_cast<size_t>(token) * hidden + column);
  float4 v = older_columns(to, column < hidden);
  wait_for_predecessor();
  release_successor();
  if (column >= hidden) {
    return;
  }
  const Parts sums{parts, static_cast<size_t>(part_rows) * hidden, hidden, k_tiles, steps};
  float4 update = make_float4(0, 0, 0, 0);
  for (int k = 0; k < per_token; k++) {
    const int row = rows_of[token * per_token + k];
    if (row >= 0) {
      const float weight = expert_weights[token * per_token + k];
      const float4 sum = sums.sum4(row, column);
      update.x = fmaf(weight, sum.x, update.x), update.y = fmaf(weight, sum.y, update.y);
      update.z = fmaf(weight, sum.z, update.z), update.w = fmaf(weight, sum.w, update.w);
    }
  }
  v.x += update.x, v.y += update.y, v.z += update.z, v.w += update.w;
  *to = v;
}
