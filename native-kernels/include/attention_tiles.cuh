// Tiles of prefill attention and how their keys and values reach shared memory: the producer's side
// of paged_attention_prefill.cu, which describes the whole.
#pragma once

#include "common.cuh"
#include "kv_layout.cuh"
#include "ptx_sm90.cuh"

constexpr int kHeadDim = 128;
constexpr int kRows = 128;  // of a block: (token, head of the group) pairs
constexpr int kKeys = 128;  // of a stage
constexpr int kStages = 3;
constexpr int kPanelBytes = kKeys * kRowBytes;  // 64 columns of a stage's keys
constexpr int kStageBytes = 2 * kPanelBytes;
constexpr int kQueryPanelBytes = 64 * kRowBytes;  // 64 columns of a warpgroup's 64 rows
constexpr int kQueryBytes = 4 * kQueryPanelBytes;
constexpr int kBarriers = kQueryBytes + 2 * kStages * kStageBytes;
constexpr int kTileSlots = 2;  // tiles drawn ahead
constexpr int kTileBarriers = kBarriers + 4 * kStages * 8;
constexpr int kTiles = kTileBarriers + 2 * kTileSlots * 8;
constexpr int kSharedBytes = kTiles + kTileSlots * 32;
static_assert(kSharedBytes == 229568, "the launcher uses this size");

constexpr int kTurn = 1;       // named barriers 1, 2: whose products come next
constexpr int kWarpgroup = 3;  // 3, 4
constexpr float kLog2e = 1.44269504f;

constexpr int kRunKeys = 512;  // of a softmax of its own, where keys are added up in runs

struct AttentionArgs {
  __nv_bfloat16* out;
  const __nv_bfloat16* qkv;
  const __nv_bfloat16* keys;
  const __nv_bfloat16* values;
  const int* block_tables;
  const int* cu_seq_lens;
  const int* context_lens;
  int* work;
  int seqs, heads, kv_heads, block_size, max_blocks, sliding_window, tile_rows;
  float scale;
  // Of the kernel that adds up runs:
  float* states;      // attention_runs.cuh
  int* counters;      // [T, G, 4 warps], zero between launches
  int max_runs;       // of a sequence
  int splits;         // whether a run is a tile of its own
};

// The rows of one tile and the keys they see. tokens = 0: no more tiles.
struct alignas(16) Tile {
  int kv_head;
  int sequence;
  int first_row;  // token row of the batch
  int tokens;
  int first_position;  // of first_row in its sequence
  int first_key;       // a multiple of kKeys
  int key_tiles;
  int run;  // of its sequence, where runs are tiles, from 0 on; then how many there are: 16 bits each

  // Keys 0 .. keys() - 1 exist for the last token.
  __device__ __forceinline__ int keys() const { return first_position + tokens; }
  __device__ __forceinline__ int end_key() const { return first_key + key_tiles * kKeys; }

  // Whether some row must not see some of the 128 keys from `first` on.
  __device__ __forceinline__ bool masked(int first, int window) const {
    const int last_position = keys() - 1;
    return first + kKeys - 1 > first_position || (window > 0 && first <= last_position - window);
  }
};
static_assert(sizeof(Tile) == 32, "two 16-byte accesses");

// The runs that a sequence sees: the first, and how many.
__device__ __forceinline__ int2 runs_of(const AttentionArgs& args, int context, int length) {
  const int window = args.sliding_window;
  const int first = window > 0 ? max(0, context - length - window + 1) / kRunKeys : 0;
  return {first, max(0, context - 1) / kRunKeys - first + 1};
}

// Leaves of a tile's keys those of one run; or, if its rows see none of that run, 128 that are masked.
__device__ __forceinline__ void take_run(Tile& tile, int2 runs, int at) {
  const int start = (runs.x + at) * kRunKeys;
  const int first = max(tile.first_key, start);
  const int tiles = (min(tile.end_key(), start + kRunKeys) - first) / kKeys;
  tile.first_key = tiles > 0 ? first : start;
  tile.key_tiles = max(1, tiles);
  tile.run = at | runs.y << 16;
}

// Counts tiles from the last sequence's last tile backwards, a warp of sequences at a time, so that
// the longest rows of a sequence come first.
template <bool kRuns>
__device__ __forceinline__ Tile find_tile(const AttentionArgs& args, int drawn) {
  const int tokens_per_tile = kRows / (args.heads / args.kv_heads);
  const int lane = threadIdx.x % 32;
  int index = drawn / args.kv_heads;
  Tile tile{};
  tile.kv_head = drawn % args.kv_heads;
  for (int done = 0; done < args.seqs; done += 32) {
    const int s = args.seqs - 1 - done - lane;
    const int begin = s >= 0 ? args.cu_seq_lens[s] : 0;
    const int length = s >= 0 ? args.cu_seq_lens[s + 1] - begin : 0;
    const int context = s >= 0 ? args.context_lens[s] : 0;
    int2 runs{0, 1};
    if (kRuns && args.splits != 0) {
      runs = runs_of(args, context, length);
    }
    const int own = ceil_div(length, tokens_per_tile) * runs.y;
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
    const int at = own - 1 - (index - (sum - own));
    const int local = kRuns ? at / runs.y : at;
    tile.sequence = s;
    tile.first_row = begin + local * tokens_per_tile;
    tile.tokens = min(tokens_per_tile, length - local * tokens_per_tile);
    tile.first_position = context - length + local * tokens_per_tile;
    tile.sequence = __shfl_sync(0xffffffffu, tile.sequence, owner);
    tile.first_row = __shfl_sync(0xffffffffu, tile.first_row, owner);
    tile.tokens = __shfl_sync(0xffffffffu, tile.tokens, owner);
    tile.first_position = __shfl_sync(0xffffffffu, tile.first_position, owner);
    const int window = args.sliding_window;
    const int first_key = window > 0 ? max(0, tile.first_position - window + 1) : 0;
    tile.first_key = first_key / kKeys * kKeys;
    // One for a sequence without context, too, which is padding: its row sees nothing of it.
    tile.key_tiles = max(1, ceil_div(tile.keys() - tile.first_key, kKeys));
    if (kRuns && args.splits != 0) {
      const int2 its{__shfl_sync(0xffffffffu, runs.x, owner),
                     __shfl_sync(0xffffffffu, runs.y, owner)};
      take_run(tile, its, __shfl_sync(0xffffffffu, at % runs.y, owner));
    }
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
  __device__ __forceinline__ uint32_t tile_full(int count) const {
    return base + kTileBarriers + count % kTileSlots * 8;
  }
  __device__ __forceinline__ uint32_t tile_empty(int count) const {
    return tile_full(count) + kTileSlots * 8;
  }
  __device__ __forceinline__ uint32_t tile(int count) const {
    return base + kTiles + count % kTileSlots * 32;
  }
};

__device__ __forceinline__ uint32_t parity(int step) { return step / kStages & 1; }

// ---- producer: one warp ------------------------------------------------------------------------

// Lane l copies one panel of one block. Blocks past the last key repeat the last one: whatever lies
// there is masked, but it must be finite. `at` is this tile's step, `step` counts through all
// tiles.
__device__ __forceinline__ void load_stage(const AttentionArgs& args, const Tile& tile,
                                           const Shared& shared, int operand, int at, int step,
                                           int lane) {
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
    const int key = tile.first_key + at * kKeys + piece * piece_keys;
    const int entry = min(key, tile.keys() - 1) / args.block_size;
    const size_t block =
        args.block_tables[static_cast<size_t>(tile.sequence) * args.max_blocks + entry];
    const size_t start = ((block * args.kv_heads + tile.kv_head) * 2 + panel) * args.block_size +
                         key % args.block_size;
    bulk_load(shared.stage(operand, step) + panel * kPanelBytes + piece * piece_keys * kRowBytes,
              (operand == 0 ? args.keys : args.values) + start * kTileK, piece_keys * kRowBytes,
              shared.full(operand, step));
  }
}

template <bool kRuns>
__device__ __forceinline__ void produce(const AttentionArgs& args, const Shared& shared, int lane) {
  int step = 0;
  for (int count = 0;; count++) {
    int drawn = lane == 0 ? atomicAdd(args.work, 1) : 0;
    drawn = __shfl_sync(0xffffffffu, drawn, 0);
    const Tile tile = find_tile<kRuns>(args, drawn);
    if (lane == 0) {
      barrier_wait(shared.tile_empty(count), (count / kTileSlots & 1) ^ 1);
      const uint4* words = reinterpret_cast<const uint4*>(&tile);
      store_shared_16(shared.tile(count), words[0]);
      store_shared_16(shared.tile(count) + 16, words[1]);
      barrier_arrive(shared.tile_full(count));
    }
    __syncwarp();
    if (tile.tokens == 0) {
      break;
    }
    for (int at = 0; at < tile.key_tiles; at++, step++) {
      load_stage(args, tile, shared, 0, at, step, lane);
      load_stage(args, tile, shared, 1, at, step, lane);
    }
  }
  // Every block draws once more than there are tiles for it; the last to do so leaves zeros.
  if (lane == 0 && atomicAdd(args.work + 1, 1) == static_cast<int>(gridDim.x) - 1) {
    args.work[0] = 0;
    args.work[1] = 0;
  }
}
