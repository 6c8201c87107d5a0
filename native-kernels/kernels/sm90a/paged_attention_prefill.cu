// Causal attention of prefill on Hopper (Kernels.pagedAttention for sequences of many new tokens):
// out[t] = softmax(scale * q[t] K^T) V over the keys that token t sees, in one pass over the keys
// (Dao et al., FlashAttention), scores and sums in fp32, products in bf16.
//
//   paged_attention_prefill_bf16_d128    head dimension 128
//
// Legend: T tokens of the batch, S sequences, H query heads, G KV heads, d = 128, group = H / G.
// K and V come from the paged cache (kv_layout.cuh), where this batch's own are already; queries
// from the fused QKV rows, after RoPE. Sequences are ragged: row t of sequence s, cu_seq_lens[s] <=
// t < cu_seq_lens[s + 1], has position context_lens[s] - cu_seq_lens[s + 1] + t and sees positions
// max(0, position - sliding_window + 1) ... position (sliding_window 0: from 0).
//
// Launch: block 384; grid (G, tiles) with tiles >= sum over s of ceil(new tokens / (128 / group)),
// for which T / (128 / group) + S always suffices: blocks beyond the need leave at once; dynamic
// shared memory 163,904 bytes (set CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES). group <= 128;
// block_size is 8, 16, 32, 64 or a multiple of 128. To leave decodes to another kernel, pass
// cu_seq_lens + s0, context_lens + s0, block_tables + s0 * max_blocks and S - s0.
// Arguments: (out, qkv, keys, values, block_tables, cu_seq_lens, context_lens pointers, int seqs,
// int heads, int kv_heads, int block_size, int max_blocks, int sliding_window, float scale).
//
// A block is one KV head and 128 / group tokens: its 128 rows are the tokens' heads of that group,
// which share K and V, 64 rows for each of two consumer warpgroups. The longest rows start first.
// Warpgroup 0 copies keys and values, 128 at a time, two stages of each. A consumer's softmax runs
// while its last P V product and the other consumer's products occupy the matrix unit.
// A row's result depends on nothing but its own sequence: same bits in every batch.

#include "common.cuh"
#include "kv_layout.cuh"
#include "ptx_sm90.cuh"
#include "wgmma.cuh"

namespace {

constexpr int kHeadDim = 128;
constexpr int kRows = 128;      // of a block: (token, head of the group) pairs
constexpr int kKeys = 128;      // of a stage
constexpr int kStages = 2;
constexpr int kPanelBytes = kKeys * kRowBytes;        // 64 columns of a stage's keys
constexpr int kStageBytes = 2 * kPanelBytes;
constexpr int kQueryPanelBytes = 64 * kRowBytes;      // 64 columns of a warpgroup's 64 rows
constexpr int kQueryBytes = 4 * kQueryPanelBytes;
constexpr int kBarriers = kQueryBytes + 2 * kStages * kStageBytes;
constexpr int kSharedBytes = kBarriers + 4 * kStages * 8;
static_assert(kSharedBytes == 163904, "the launcher uses this size");

constexpr int kTurn = 1;       // named barriers 1, 2: whose products come next
constexpr int kWarpgroup = 3;  // 3, 4
constexpr float kLog2e = 1.44269504f;

struct AttentionArgs {
  __nv_bfloat16* out;
  const __nv_bfloat16* qkv;
  const __nv_bfloat16* keys;
  const __nv_bfloat16* values;
  const int* block_tables;
  const int* cu_seq_lens;
  const int* context_lens;
  int seqs, heads, kv_heads, block_size, max_blocks, sliding_window;
  float scale;
};

// The tokens of one block and the keys they see.
struct Tile {
  int sequence;
  int first_row;       // token row of the batch
  int tokens;
  int first_position;  // of first_row in its sequence
  int first_key;       // a multiple of kKeys
  int key_tiles;
  int keys;            // keys 0 .. keys - 1 exist for the last token

  // Keys of step j that some row must not see.
  __device__ __forceinline__ bool masked(int step, int window) const {
    const int first = first_key + step * kKeys;
    const int last_position = keys - 1;
    return first + kKeys - 1 > first_position || (window > 0 && first <= last_position - window);
  }
};

// Counts tiles from the last sequence's last tile backwards, a warp of sequences at a time, so that
// block 0 has the longest rows of its sequence. tokens = 0 where `index` is beyond all tiles.
__device__ Tile find_tile(const AttentionArgs& args, int index, int tokens_per_tile) {
  const int lane = threadIdx.x % 32;
  Tile tile{};
  for (int done = 0; done < args.seqs; done += 32) {
    const int s = args.seqs - 1 - done - lane;
    const int begin = s >= 0 ? args.cu_seq_lens[s] : 0;
    const int length = s >= 0 ? args.cu_seq_lens[s + 1] - begin : 0;
    const int own = ceil_div(length, tokens_per_tile);
    int sum = own;
    for (int offset = 1; offset < 32; offset *= 2) {
      const int other = __shfl_up_sync(0xffffffffu, sum, offset);
      sum += lane >= offset ? other : 0;
    }
    const unsigned reached = __ballot_sync(0xffffffffu, sum > index);
    if (reached == 0) {
      index -= __shfl_sync(0xffffffffu, sum, 31);
      continue;
    }
    const int owner = __ffs(reached) - 1;
    const int local = own - 1 - (index - (sum - own));
    tile.sequence = s;
    tile.first_row = begin + local * tokens_per_tile;
    tile.tokens = min(tokens_per_tile, length - local * tokens_per_tile);
    tile.first_position =
        (s >= 0 ? args.context_lens[s] : 0) - length + local * tokens_per_tile;
    tile.sequence = __shfl_sync(0xffffffffu, tile.sequence, owner);
    tile.first_row = __shfl_sync(0xffffffffu, tile.first_row, owner);
    tile.tokens = __shfl_sync(0xffffffffu, tile.tokens, owner);
    tile.first_position = __shfl_sync(0xffffffffu, tile.first_position, owner);
    tile.keys = tile.first_position + tile.tokens;
    const int window = args.sliding_window;
    const int first_key = window > 0 ? max(0, tile.first_position - window + 1) : 0;
    tile.first_key = first_key / kKeys * kKeys;
    tile.key_tiles = ceil_div(tile.keys - tile.first_key, kKeys);
    return tile;
  }
  return tile;
}

struct Shared {
  uint32_t base;

  // operand 0: keys, 1: values
  __device__ __forceinline__ uint32_t query(int warpgroup) const {
    return base + warpgroup * 2 * kQueryPanelBytes;
  }
  __device__ __forceinline__ uint32_t stage(int operand, int step) const {
    return base + kQueryBytes + (operand * kStages + step % kStages) * kStageBytes;
  }
  __device__ __forceinline__ uint32_t full(int operand, int step) const {
    return base + kBarriers + (operand * kStages + step % kStages) * 8;
  }
  __device__ __forceinline__ uint32_t empty(int operand, int step) const {
    return full(operand, step) + 2 * kStages * 8;
  }
};

__device__ __forceinline__ uint32_t parity(int step) { return step / kStages & 1; }

// ---- producer: one warp ------------------------------------------------------------------------

// Lane l copies one panel of one block. Blocks past the last key repeat the last one: whatever lies
// there is masked, but it must be finite.
__device__ __forceinline__ void load_stage(const AttentionArgs& args, const Tile& tile,
                                           const Shared& shared, int operand, int step, int lane) {
  if (lane == 0) {
    barrier_wait(shared.empty(operand, step), parity(step) ^ 1);
    barrier_arrive_expect(shared.full(operand, step), kStageBytes);
  }
  __syncwarp();
  const int piece_keys = min(args.block_size, kKeys);
  const int pieces = kKeys / piece_keys;
  if (lane < 2 * pieces) {
    const int panel = lane / pieces;
    const int piece = lane % pieces;
    const int key = tile.first_key + step * kKeys + piece * piece_keys;
    const int entry = min(key, tile.keys - 1) / args.block_size;
    const size_t block =
        args.block_tables[static_cast<size_t>(tile.sequence) * args.max_blocks + entry];
    const size_t start = ((block * args.kv_heads + blockIdx.x) * 2 + panel) * args.block_size +
                         key % args.block_size;
    bulk_load(shared.stage(operand, step) + panel * kPanelBytes + piece * piece_keys * kRowBytes,
              (operand == 0 ? args.keys : args.values) + start * kTileK, piece_keys * kRowBytes,
              shared.full(operand, step));
  }
}

__device__ __forceinline__ void produce(const AttentionArgs& args, const Tile& tile,
                                        const Shared& shared, int lane) {
  for (int step = 0; step < tile.key_tiles; step++) {
    load_stage(args, tile, shared, 0, step, lane);
    load_stage(args, tile, shared, 1, step, lane);
  }
}

// ---- consumers: two warpgroups of 64 rows ------------------------------------------------------

__device__ __forceinline__ void load_queries(const AttentionArgs& args, const Tile& tile,
                                             uint32_t to, int warpgroup) {
  const int group = args.heads / args.kv_heads;
  const int width = (args.heads + 2 * args.kv_heads) * kHeadDim;
  for (int at = threadIdx.x % 128; at < 64 * kHeadDim / kChunk; at += 128) {
    const int row = at / (kHeadDim / kChunk);
    const int chunk = at % (kHeadDim / kChunk);
    const int packed = warpgroup * 64 + row;
    const int token = packed / group;
    uint4 value = make_uint4(0, 0, 0, 0);
    if (token < tile.tokens) {
      const int head = blockIdx.x * group + packed % group;
      value = *reinterpret_cast<const uint4*>(args.qkv +
                                              static_cast<size_t>(tile.first_row + token) * width +
                                              head * kHeadDim + chunk * kChunk);
    }
    store_shared_16(to + chunk / 8 * kQueryPanelBytes + swizzled_bytes(row, chunk % 8), value);
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

__device__ __forceinline__ float exp2_fast(float x) {
  float y;
  asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
  return y;
}

__device__ __forceinline__ uint32_t pack_pair(float low, float high) {
  const __nv_bfloat162 pair = __floats2bfloat162_rn(low, high);
  return *reinterpret_cast<const uint32_t*>(&pair);
}

// The running softmax of this thread's two rows, in units of log2.
struct Softmax {
  float scale;            // softmax scale * log2(e)
  float maximum[2];
  float total[2];         // of this thread's columns

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
      shrink[r] = exp2_fast(fmaf(maximum[r], scale, -shift));
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

__device__ __forceinline__ void release(uint32_t barrier, int lane) {
  if (lane == 0) {
    barrier_arrive(barrier);
  }
}

// Rows to device memory by way of the warp's own 16 rows of the query's shared memory.
__device__ __forceinline__ void store_rows(const AttentionArgs& args, const Tile& tile,
                                           const float (&sum)[64], uint32_t staging, int warpgroup,
                                           int lane) {
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
    if (token < tile.tokens) {
      const size_t at = static_cast<size_t>(tile.first_row + token) * args.heads +
                        blockIdx.x * group + packed % group;
      *reinterpret_cast<uint4*>(args.out + at * kHeadDim + chunk * kChunk) =
          load_shared_16(staging + chunk / 8 * kQueryPanelBytes + swizzled_bytes(row, chunk % 8));
    }
  }
}

__device__ __forceinline__ void consume(const AttentionArgs& args, const Tile& tile,
                                        const Shared& shared, int warpgroup, int lane) {
  const int group = args.heads / args.kv_heads;
  const int row = warpgroup * 64 + threadIdx.x / 32 % 4 * 16 + lane / 4;
  const int position[2] = {tile.first_position + row / group,
                           tile.first_position + (row + 8) / group};
  const int window = args.sliding_window;
  const uint32_t query = shared.query(warpgroup);
  load_queries(args, tile, query, warpgroup);
  float scores[64];
  float sum[64];
  uint32_t p[8][4];
  float shrink[2];
  Softmax softmax{args.scale * kLog2e, {-INFINITY, -INFINITY}, {0.0f, 0.0f}};
#pragma unroll
  for (int i = 0; i < 64; i++) {
    sum[i] = 0.0f;
  }
  if (warpgroup == 1) {
    named_arrive(kTurn, 256);  // warpgroup 0 begins
  }
  barrier_wait(shared.full(0, 0), 0);
  wgmma_fence();
  multiply_keys(scores, query, shared.stage(0, 0));
  wgmma_wait<0>();
  keep_order(scores);
  release(shared.empty(0, 0), lane);
  if (tile.masked(0, window)) {
    mask(scores, position, tile.first_key, window, lane);
  }
  softmax.step(scores, shrink);
  to_operand(p, scores);
  for (int step = 1; step < tile.key_tiles; step++) {
    barrier_wait(shared.full(0, step), parity(step));
    named_sync(kTurn + warpgroup, 256);
    wgmma_fence();
    multiply_keys(scores, query, shared.stage(0, step));
    barrier_wait(shared.full(1, step - 1), parity(step - 1));
    wgmma_fence();
    multiply_values(sum, p, shared.stage(1, step - 1));
    if (warpgroup == 0 || step + 1 < tile.key_tiles) {
      named_arrive(kTurn + 1 - warpgroup, 256);
    }
    wgmma_wait<1>();
    keep_order(scores);
    release(shared.empty(0, step), lane);
    if (tile.masked(step, window)) {
      mask(scores, position, tile.first_key + step * kKeys, window, lane);
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
  const int last = tile.key_tiles - 1;
  barrier_wait(shared.full(1, last), parity(last));
  wgmma_fence();
  multiply_values(sum, p, shared.stage(1, last));
  wgmma_wait<0>();
  keep_order(sum);
#pragma unroll
  for (int r = 0; r < 2; r++) {
    float total = softmax.total[r];
    total += __shfl_xor_sync(0xffffffffu, total, 1);
    total += __shfl_xor_sync(0xffffffffu, total, 2);
    const float inverse = total > 0.0f ? 1.0f / total : 0.0f;
#pragma unroll
    for (int j = 0; j < 16; j++) {
      sum[4 * j + 2 * r] *= inverse;
      sum[4 * j + 2 * r + 1] *= inverse;
    }
  }
  store_rows(args, tile, sum, query, warpgroup, lane);
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
                                      int seqs, int heads, int kv_heads, int block_size,
                                      int max_blocks, int sliding_window, float scale) {
  extern __shared__ __align__(1024) uint8_t dynamic_shared[];
  const Shared shared{shared_address(dynamic_shared)};
  const AttentionArgs args{out,          qkv,  keys,     values,     block_tables,
                           cu_seq_lens,  context_lens,   seqs,       heads,
                           kv_heads,     block_size,     max_blocks, sliding_window,
                           scale};
  const Tile tile = find_tile(args, blockIdx.y, kRows / (heads / kv_heads));
  if (tile.tokens == 0) {
    return;
  }
  if (threadIdx.x == 0) {
    for (int slot = 0; slot < kStages; slot++) {
      for (int operand = 0; operand < 2; operand++) {
        barrier_init(shared.full(operand, slot), 1);
        barrier_init(shared.empty(operand, slot), 8);  // consumer warps
      }
    }
    barrier_init_fence();
  }
  __syncthreads();
  const int lane = threadIdx.x % 32;
  if (threadIdx.x < 128) {
    fewer_registers<24>();
    if (threadIdx.x < 32) {
      produce(args, tile, shared, lane);
    }
  } else {
    more_registers<240>();
    consume(args, tile, shared, threadIdx.x / 128 - 1, lane);
  }
}
