// Causal attention of prefill on Hopper (Kernels.pagedAttention for sequences of many new tokens):
// out[t] = softmax(scale * q[t] K^T) V over the keys that token t sees, in one pass over the keys
// (Dao et al., FlashAttention), scores and sums in fp32, products in bf16.
//
//   paged_attention_prefill_bf16_d128    head dimension 128
//   paged_attention_runs_bf16_d128       the same, keys in runs of 512 (attention_runs.cuh)
//
// Legend: T tokens of the batch, S sequences, H query heads, G KV heads, d = 128, group = H / G.
// K and V come from the paged cache (kv_layout.cuh), where this batch's own are already; queries
// from the fused QKV rows, after RoPE. Sequences are ragged: row t of sequence s, cu_seq_lens[s] <=
// t < cu_seq_lens[s + 1], has position context_lens[s] - cu_seq_lens[s + 1] + t and sees positions
// max(0, position - sliding_window + 1) ... position (sliding_window 0: from 0).
//
// Launch: block 384; grid = multiprocessors (persistent; any number is right); dynamic shared
// memory 229,568 bytes (set CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES). group <= 128;
// block_size is 8, 16, 32, 64 or a multiple of 128 (64 is faster than 16: the copies are larger).
// To leave decodes to another kernel, pass cu_seq_lens + s0, context_lens + s0, block_tables + s0 *
// max_blocks, S - s0. work: 2 ints, zero before the first launch, left zero by every launch; one
// launch at a time. out: rows, or with tile_rows > 0 the one token tile (tiled_layout.cuh) of T <=
// tile_rows rows. splits (runs only): a run of a tile is a tile of its own, for T group <= 64, the rows
// of one warpgroup; the same bits as without. Programmatic dependent launch is optional. Arguments in the order of the signature
// at the end.
//
// A tile is one KV head and 128 / group tokens: its 128 rows are the tokens' heads of that group,
// which share K and V, 64 rows for each of two consumer warpgroups. Blocks draw tiles from a
// counter, the last (longest) rows of a sequence first. Warpgroup 0 copies keys and values, 128 at
// a time, three stages of each, and runs ahead into the next tile. A consumer's softmax runs while
// its last P V product and the other consumer's products occupy the matrix unit.
//
// A row's result depends on nothing but its own sequence: same bits in every batch and chunk of a
// prompt, as a decode too, whoever draws it. Stages begin at multiples of 128 keys, so that a row
// meets its keys in the same groups whatever stands beside it; rows of a product do not see each
// other. What its mates decide is only whether stages come before and behind those, of which the row
// sees no key, and these change no bit: no score is above -inf, so the maximum stays and shrink is
// exactly 1 (a row that has seen no key has sums of 0, whatever shrink is), probabilities are exactly
// 0, and so is what is added to total and, the cache being finite, to sum. The sign of a sum of 0 may
// change there: it is given up at the end.

#include "attention_runs.cuh"
#include "decode_tokens.cuh"
#include "wgmma.cuh"

namespace {

// ---- consumers: two warpgroups of 64 rows ------------------------------------------------------

constexpr int kQueryChunks = 64 * kHeadDim / kChunk / 128;  // 16-byte chunks of one thread

__device__ __forceinline__ void release(uint32_t barrier, int lane) {
  if (lane == 0) {
    barrier_arrive(barrier);
  }
}

__device__ __forceinline__ Tile next_tile(const Shared& shared, int count, int lane) {
  barrier_wait(shared.tile_full(count), count / kTileSlots & 1);
  Tile tile;
  uint4* words = reinterpret_cast<uint4*>(&tile);
  words[0] = load_shared_16(shared.tile(count));
  words[1] = load_shared_16(shared.tile(count) + 16);
  __syncwarp();
  release(shared.tile_empty(count), lane);
  return tile;
}

// This thread's share of the warpgroup's 64 rows; rows without a token are zero.
__device__ __forceinline__ void load_queries(uint4 (&queries)[kQueryChunks],
                                             const AttentionArgs& args, const Tile& tile,
                                             int warpgroup) {
  const int group = args.heads / args.kv_heads;
  const int width = (args.heads + 2 * args.kv_heads) * kHeadDim;
#pragma unroll
  for (int i = 0; i < kQueryChunks; i++) {
    const int at = threadIdx.x % 128 + 128 * i;
    const int packed = warpgroup * 64 + at / (kHeadDim / kChunk);
    const int chunk = at % (kHeadDim / kChunk);
    const int token = packed / group;
    const int head = tile.kv_head * group + packed % group;
    const size_t row = static_cast<size_t>(tile.first_row + token) * width;
    queries[i] =
        token < tile.tokens
            ? *reinterpret_cast<const uint4*>(args.qkv + row + head * kHeadDim + chunk * kChunk)
            : make_uint4(0, 0, 0, 0);
  }
}

__device__ __forceinline__ void share_queries(const uint4 (&queries)[kQueryChunks], uint32_t to,
                                              int warpgroup) {
  named_sync(kWarpgroup + warpgroup, 128);  // the last tile's rows have left this memory
#pragma unroll
  for (int i = 0; i < kQueryChunks; i++) {
    const int at = threadIdx.x % 128 + 128 * i;
    const int row = at / (kHeadDim / kChunk);
    const int chunk = at % (kHeadDim / kChunk);
    store_shared_16(to + chunk / 8 * kQueryPanelBytes + swizzled_bytes(row, chunk % 8), queries[i]);
  }
  fence_async_proxy();
  named_sync(kWarpgroup + warpgroup, 128);
}

// scores = Q K^T of a stage, left in flight.
__device__ __forceinline__ void multiply_keys(float (&scores)[64], uint32_t query, uint32_t keys) {
#pragma unroll
  for (int i = 0; i < kHeadDim / 16; i++) {
    const uint64_t a = matrix_descriptor(query + i / 4 * kQueryPanelBytes) + i % 4 * 2;
    const uint64_t b = matrix_descriptor(keys + i / 4 * kPanelBytes) + i % 4 * 2;
    if (i == 0) {
      wgmma_bf16_first_n128(scores, a, b);
    } else {
      wgmma_bf16<128>(scores, a, b);
    }
  }
  wgmma_commit();
}

// sum += P V of a stage, left in flight.
__device__ __forceinline__ void multiply_values(float (&sum)[64], const uint32_t (&p)[8][4],
                                                uint32_t values) {
#pragma unroll
  for (int i = 0; i < kKeys / 16; i++) {
    wgmma_bf16_registers_n128(sum, p[i],
                              transposed_descriptor(values + i * 16 * kRowBytes, kPanelBytes));
  }
  wgmma_commit();
}

__device__ __forceinline__ uint32_t pack_pair(float low, float high) {
  const __nv_bfloat162 pair = __floats2bfloat162_rn(low, high);
  return *reinterpret_cast<const uint32_t*>(&pair);
}

// The running softmax of this thread's two rows, in units of log2.
struct Softmax {
  float scale;  // softmax scale * log2(e)
  float maximum[2];
  float total[2];  // of this thread's columns

  // Scores become probabilities relative to the new maximum; shrink[r] is what earlier sums times
  // the old maximum are worth now. A row that has seen no key yet keeps maximum -inf and sums of 0.
  __device__ __forceinline__ void step(float (&scores)[64], float (&shrink)[2]) {
#pragma unroll
    for (int r = 0; r < 2; r++) {
      float top = maximum[r];
#pragma unroll
      for (int j = 0; j < 16; j++) {
        top = fmaxf(top, fmaxf(scores[4 * j + 2 * r], scores[4 * j + 2 * r + 1]));
      }
      top = fmaxf(top, __shfl_xor_sync(0xffffffffu, top, 1));
      top = fmaxf(top, __shfl_xor_sync(0xffffffffu, top, 2));
      const float shift = top == -INFINITY ? 0.0f : top * scale;
      // Where nothing changed the sum would be the rounding error of shift, not 0.
      shrink[r] = exp2_fast(top == maximum[r] ? 0.0f : fmaf(maximum[r], scale, -shift));
      maximum[r] = top;
      float sum = 0.0f;
#pragma unroll
      for (int j = 0; j < 16; j++) {
#pragma unroll
        for (int i = 0; i < 2; i++) {
          float& score = scores[4 * j + 2 * r + i];
          score = exp2_fast(fmaf(score, scale, -shift));
          sum += score;
        }
      }
      total[r] = fmaf(total[r], shrink[r], sum);
    }
  }
};

// -inf where a key comes after the row's position or has left its window.
__device__ __forceinline__ void mask(float (&scores)[64], const int (&position)[2], int first_key,
                                     int window, int lane) {
#pragma unroll
  for (int i = 0; i < 64; i++) {
    const int key = first_key + i / 4 * 8 + lane % 4 * 2 + i % 2;
    const int at = position[i / 2 % 2];
    if (key > at || (window > 0 && key <= at - window)) {
      scores[i] = -INFINITY;
    }
  }
}

// Accumulator fragments of S are A fragments of P: 16 keys are two neighbouring groups of four.
__device__ __forceinline__ void to_operand(uint32_t (&p)[8][4], const float (&scores)[64]) {
#pragma unroll
  for (int i = 0; i < 32; i++) {
    p[i / 4][i % 4] = pack_pair(scores[2 * i], scores[2 * i + 1]);
  }
}

// Rows to device memory by way of the warp's own 16 rows of the query's shared memory.
__device__ __forceinline__ void store_rows(const AttentionArgs& args, const Tile& tile,
                                           const float (&sum)[64], bool writes, uint32_t staging,
                                           int warpgroup, int lane) {
  const int warp = threadIdx.x / 32 % 4;
  const int group = args.heads / args.kv_heads;
  named_sync(kWarpgroup + warpgroup, 128);  // every warp's last Q K^T is done
#pragma unroll
  for (int j = 0; j < 16; j += 2) {
    const uint32_t matrices[4] = {
        pack_pair(sum[4 * j], sum[4 * j + 1]), pack_pair(sum[4 * j + 2], sum[4 * j + 3]),
        pack_pair(sum[4 * j + 4], sum[4 * j + 5]), pack_pair(sum[4 * j + 6], sum[4 * j + 7])};
    const int row = warp * 16 + lane % 16;
    const int chunk = j + lane / 16;
    store_matrices(staging + chunk / 8 * kQueryPanelBytes + swizzled_bytes(row, chunk % 8),
                   matrices);
  }
  __syncwarp();
#pragma unroll
  for (int i = 0; i < 8; i++) {
    const int row = warp * 16 + i * 2 + lane / 16;
    const int chunk = lane % 16;
    const int packed = warpgroup * 64 + row;
    const int token = packed / group;
    if (writes && token < tile.tokens) {
      const int head = tile.kv_head * group + packed % group;
      *reinterpret_cast<uint4*>(out_chunk(args.out, tile.first_row + token,
                                          head * (kHeadDim / kChunk) + chunk,
                                          args.heads * kHeadDim, args.tile_rows)) =
          load_shared_16(staging + chunk / 8 * kQueryPanelBytes + swizzled_bytes(row, chunk % 8));
    }
  }
}

// Keys of one tile: on return `sum` is the weighted values, not yet divided by softmax.total, and the last
// product is still in flight. `step` counts stages through all tiles.
__device__ __forceinline__ void attend(float (&sum)[64], Softmax& softmax,
                                       const AttentionArgs& args, const Tile& tile,
                                       int first_key, int key_tiles, const Shared& shared,
                                       int& step, int warpgroup, int lane) {
  const int group = args.heads / args.kv_heads;
  const int row = warpgroup * 64 + threadIdx.x / 32 % 4 * 16 + lane / 4;
  const int position[2] = {tile.first_position + row / group,
                           tile.first_position + (row + 8) / group};
  const int window = args.sliding_window;
  const uint32_t query = shared.query(warpgroup);
  float scores[64];
  uint32_t p[8][4];
  float shrink[2];
#pragma unroll
  for (int i = 0; i < 64; i++) {
    sum[i] = 0.0f;
  }
  barrier_wait(shared.full(0, step), parity(step));
  wgmma_fence();
  multiply_keys(scores, query, shared.stage(0, step));
  wgmma_wait<0>();
  keep_order(scores);
  release(shared.empty(0, step), lane);
  if (tile.masked(first_key, window)) {
    mask(scores, position, first_key, window, lane);
  }
  softmax.step(scores, shrink);
  to_operand(p, scores);
  step++;
  for (int at = 1; at < key_tiles; at++, step++) {
    barrier_wait(shared.full(0, step), parity(step));
    named_sync(kTurn + warpgroup, 256);
    wgmma_fence();
    multiply_keys(scores, query, shared.stage(0, step));
    barrier_wait(shared.full(1, step - 1), parity(step - 1));
    wgmma_fence();
    multiply_values(sum, p, shared.stage(1, step - 1));
    named_arrive(kTurn + 1 - warpgroup, 256);
    wgmma_wait<1>();
    keep_order(scores);
    release(shared.empty(0, step), lane);
    if (tile.masked(first_key + at * kKeys, window)) {
      mask(scores, position, first_key + at * kKeys, window, lane);
    }
    softmax.step(scores, shrink);
    wgmma_wait<0>();
    keep_order(sum);
    release(shared.empty(1, step - 1), lane);
#pragma unroll
    for (int i = 0; i < 64; i++) {
      sum[i] *= shrink[i / 2 % 2];
    }
    to_operand(p, scores);
  }
  barrier_wait(shared.full(1, step - 1), parity(step - 1));
  wgmma_fence();
  multiply_values(sum, p, shared.stage(1, step - 1));
}

// The same for a warpgroup without rows, as the second is where a sequence has one new token: it
// takes its turns and leaves the matrix unit to the other.
__device__ __forceinline__ void skip(int key_tiles, const Shared& shared, int& step,
                                     int warpgroup, int lane) {
  for (int at = 0; at < key_tiles; at++, step++) {
    barrier_wait(shared.full(0, step), parity(step));
    if (at > 0) {
      named_sync(kTurn + warpgroup, 256);
      barrier_wait(shared.full(1, step - 1), parity(step - 1));
      named_arrive(kTurn + 1 - warpgroup, 256);
      release(shared.empty(1, step - 1), lane);
    }
    release(shared.empty(0, step), lane);
  }
  barrier_wait(shared.full(1, step - 1), parity(step - 1));
}

// total of a row's columns, which four threads share.
__device__ __forceinline__ void add_columns(Softmax& softmax) {
#pragma unroll
  for (int r = 0; r < 2; r++) {
    softmax.total[r] += __shfl_xor_sync(0xffffffffu, softmax.total[r], 1);
    softmax.total[r] += __shfl_xor_sync(0xffffffffu, softmax.total[r], 2);
  }
}

template <bool kRuns>
__device__ __forceinline__ void consume(const AttentionArgs& args, const Shared& shared,
                                        int warpgroup, int lane) {
  const uint32_t query = shared.query(warpgroup);
  uint4 queries[kQueryChunks];
  int step = 0;
  int count = 0;
  if (warpgroup == 1) {
    named_arrive(kTurn, 256);  // warpgroup 0 begins
  }
  Tile tile = next_tile(shared, count, lane);
  load_queries(queries, args, tile, warpgroup);
  while (tile.tokens > 0) {
    share_queries(queries, query, warpgroup);
    float sum[64];
    const int group = args.heads / args.kv_heads;
    const float scale = args.scale * kLog2e;
    Softmax softmax{scale, {-INFINITY, -INFINITY}, {0.0f, 0.0f}};
    RowStates states(args, tile, warpgroup * 64 + threadIdx.x / 32 % 4 * 16 + lane / 4, group);
    int key = tile.first_key;
    bool has_earlier = false;
    while (true) {
      const int end = kRuns ? min(tile.end_key(), key / kRunKeys * kRunKeys + kRunKeys) : 0;
      const int key_tiles = kRuns ? (end - key) / kKeys : tile.key_tiles;
      // By a vote, which the compiler knows to be the warp's: descriptors stay in uniform registers.
      if (__any_sync(0xffffffffu, warpgroup * 64 < tile.tokens * group)) {
        attend(sum, softmax, args, tile, key, key_tiles, shared, step, warpgroup, lane);
      } else {
        skip(key_tiles, shared, step, warpgroup, lane);
      }
      if (!kRuns || end == tile.end_key()) {
        break;
      }
      wgmma_wait<0>();
      keep_order(sum);
      release(shared.empty(1, step - 1), lane);
      add_columns(softmax);
      if (has_earlier) {
        states.add<true>(0, sum, softmax.maximum, softmax.total, scale, lane);
        __syncwarp();  // four threads have read what one of them overwrites
      }
      states.store(0, sum, softmax.maximum, softmax.total, lane);
      __syncwarp();
      has_earlier = true;
      softmax = Softmax{scale, {-INFINITY, -INFINITY}, {0.0f, 0.0f}};
      key = end;
    }
    const Tile next = next_tile(shared, ++count, lane);
    load_queries(queries, args, next, warpgroup);  // on their way while this tile ends
    wgmma_wait<0>();
    keep_order(sum);
    release(shared.empty(1, step - 1), lane);
    add_columns(softmax);
    bool writes = true;
    if constexpr (kRuns) {
      if (has_earlier) {
        states.add<true>(0, sum, softmax.maximum, softmax.total, scale, lane);
      }
      if (args.splits != 0) {
        states.set_shared(args, tile, warpgroup * 64 + threadIdx.x / 32 % 4 * 16 + lane / 4, group);
        writes = join_runs(args, tile, states, sum, softmax.maximum, softmax.total, scale, lane);
      }
    }
#pragma unroll
    for (int r = 0; r < 2; r++) {
      const float total = softmax.total[r];
      const float inverse = total > 0.0f ? 1.0f / total : 0.0f;
#pragma unroll
      for (int j = 0; j < 16; j++) {
        sum[4 * j + 2 * r] = fmaf(sum[4 * j + 2 * r], inverse, 0.0f);  // -0 becomes 0
        sum[4 * j + 2 * r + 1] = fmaf(sum[4 * j + 2 * r + 1], inverse, 0.0f);
      }
    }
    store_rows(args, tile, sum, writes, query, warpgroup, lane);
    tile = next;
  }
  if (warpgroup == 0) {
    named_sync(kTurn, 256);  // takes the turn that warpgroup 1 gave last
  }
}

template <bool kRuns>
__device__ __forceinline__ void paged_attention(const AttentionArgs& args) {
  extern __shared__ __align__(1024) uint8_t dynamic_shared[];
  const Shared shared{shared_address(dynamic_shared)};
  if (threadIdx.x == 0) {
    for (int slot = 0; slot < kStages; slot++) {
      for (int operand = 0; operand < 2; operand++) {
        barrier_init(shared.full(operand, slot), 1);
        barrier_init(shared.empty(operand, slot), 8);  // consumer warps
      }
    }
    for (int slot = 0; slot < kTileSlots; slot++) {
      barrier_init(shared.tile_full(slot), 1);
      barrier_init(shared.tile_empty(slot), 8);
    }
    barrier_init_fence();
  }
  wait_for_predecessor();
  __syncthreads();
  release_successor();
  const int lane = threadIdx.x % 32;
  if (threadIdx.x < 128) {
    fewer_registers<40>();
    if (threadIdx.x < 32) {
      produce<kRuns>(args, shared, lane);
    }
  } else {
    more_registers<232>();
    consume<kRuns>(args, shared, threadIdx.x / 128 - 1, lane);
  }
}

}  // namespace

extern "C" __global__ void __launch_bounds__(384, 1)
    paged_attention_prefill_bf16_d128(__nv_bfloat16* out,           // [T, H d]
                                      const __nv_bfloat16* qkv,     // [T, (H + 2 G) d]
                                      const __nv_bfloat16* keys,    // kv_layout.cuh
                                      const __nv_bfloat16* values,  // kv_layout.cuh
                                      const int* block_tables,      // [S, max_blocks]
                                      const int* cu_seq_lens,       // [S + 1]
                                      const int* context_lens,      // [S]
                                      int* work,                    // [2]
                                      int seqs, int heads, int kv_heads, int block_size,
                                      int max_blocks, int sliding_window, float scale,
                                      int tile_rows) {
  paged_attention<false>({out,          qkv,  keys, values, block_tables, cu_seq_lens, context_lens,
                          work,         seqs, heads, kv_heads, block_size, max_blocks,
                          sliding_window, tile_rows, scale, nullptr, nullptr, 0, 0});
}

extern "C" __global__ void __launch_bounds__(384, 1)
    paged_attention_runs_bf16_d128(__nv_bfloat16* out,  // these as above
                                   const __nv_bfloat16* qkv, const __nv_bfloat16* keys,
                                   const __nv_bfloat16* values, const int* block_tables,
                                   const int* cu_seq_lens, const int* context_lens, int* work,
                                   int seqs, int heads, int kv_heads, int block_size,
                                   int max_blocks, int sliding_window, float scale, int tile_rows,
                                   float* states,  // [blocks, 128, 130]; splits: [T, H, max_runs, 130]
                                   int* counters,  // [T, G, 4], zero between launches
                                   int max_runs, int splits) {
  paged_attention<true>({out,          qkv,  keys, values, block_tables, cu_seq_lens, context_lens,
                         work,         seqs, heads, kv_heads, block_size, max_blocks,
                         sliding_window, tile_rows, scale, states, counters, max_runs, splits});
}
