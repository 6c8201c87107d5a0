// The projections and expert GEMMs of a decode step of 9 to 256 tokens on Hopper: weights are read
// once, at memory speed, and are wgmma's A; the tokens of an expert (all tokens, for a projection)
// are B, n = 16 ... 256 of them, chosen on the device.
//
//   decode_gemm_parts_bf16   part[p][row] = sums of W[e] x[row] over the p-th piece of K, fp32
//   decode_gemm_swiglu_bf16  h = silu(x gate^T) * (x up^T), token tiles to token tiles
//
// Who adds the parts: decode_rows.cu, in ascending order. With one piece (steps = k_tiles) part 0
// is the result (lm_head).
//
// Work is a line of 128 x 64 weight tiles, [chosen expert][n_tile][k_tile]; a block takes `steps`
// of them at a time, blocks in turn. steps need not divide k_tiles for a projection: 24 of 64 cut
// the 48 n_tiles of QKV in 128 even pieces. Piece c of the line holds part c - n_tile k_tiles /
// steps of n_tile. For several experts steps must divide k_tiles. A result's order of summation
// depends on the weight's shape and `steps` only: the same row gives the same bits in every batch.
//
// Layouts: tiled_layout.cuh. Tokens of an expert are one token tile of plan[e].tile_rows rows
// (grouped_plan.cuh with at most 256 rows an expert), of a projection one of `rows` rows, a
// multiple of 16. Rows beyond the valid ones may hold anything: their products are not stored
// (parts) or are again rows that nobody reads (h). width is a multiple of 16.
//
// Launch: block 288 (two warpgroups multiply, a warp copies); grid = multiprocessors (any number);
// dynamic shared memory `shared_bytes`, which is also an argument: 2,048 bytes, 16 KB + n * 128
// bytes a stage, n the widest tile there is, of which at least 3 and at most 8 stages are used, and
// for swiglu n * 128 bytes more. bench/decode_layer.cuh's gemm_shared gives eight stages up to n =
// 64 and is enough for every n; more brought nothing. sm_90a. Programmatic dependent launch is
// optional; a projection reads its first weights before the wait.

#include "decode_stream.cuh"
#include "grouped_plan.cuh"
#include "ptx_sm90.cuh"
#include "wgmma.cuh"

namespace {

constexpr int kConsumerThreads = 256;
constexpr int kGemmThreads = kConsumerThreads + kWarpSize;
constexpr int kMaxStages = 8;
constexpr int kMaxChosen = 16;
constexpr int kConsumerBarrier = 1;  // named barrier of the consumers; 0 is __syncthreads

extern __shared__ __align__(1024) uint8_t dynamic_shared[];

struct GemmArguments {
  const __nv_bfloat16* weights;
  const __nv_bfloat16* tokens;
  const GroupPlan* plan;  // null: a projection
  int experts;
  int rows;        // tile rows of a projection
  int valid_rows;  // of them tokens
  int n_tiles;
  int k_tiles;
  int steps;
  int shared_bytes;
};

struct ChosenExpert {
  int expert;
  GroupPlan plan;
};

struct GemmShared {
  uint64_t full[kMaxStages];
  uint64_t empty[kMaxStages];
  int chosen;    // experts with rows
  int max_rows;  // widest of their tiles
  ChosenExpert of[kMaxChosen];
};
static_assert(sizeof(GemmShared) <= 1024, "2,048 bytes of shared memory are set aside");

// A slot of the ring and the parity of its turn.
struct RingAt {
  uint32_t slot = 0;
  uint32_t parity = 0;
  __device__ __forceinline__ void next(uint32_t stages) {
    if (++slot == stages) {
      slot = 0;
      parity ^= 1;
    }
  }
};

struct Ring {
  uint32_t base;
  uint32_t stage_bytes;
  uint32_t stages;

  __device__ __forceinline__ uint32_t weights(uint32_t slot) const {
    return base + slot * stage_bytes;
  }
  __device__ __forceinline__ uint32_t tokens(uint32_t slot) const {
    return weights(slot) + kTileBytes;
  }
  // The barriers are the first of the shared memory: no register holds where.
  static __device__ __forceinline__ uint32_t full(uint32_t slot) {
    return shared_address(dynamic_shared) + slot * 8;
  }
  static __device__ __forceinline__ uint32_t empty(uint32_t slot) {
    return full(slot) + kMaxStages * 8;
  }
};

// Walks this block's weight tiles in the order in which they are multiplied.
class TileWalk {
 public:
  __device__ __forceinline__ TileWalk(const GemmArguments& a, int chosen)
      : steps_(a.steps), total_(chosen * a.n_tiles * a.k_tiles), chunk_(blockIdx.x) {
    at_ = chunk_ * steps_;
    end_ = min(at_ + steps_, total_);
  }

  // The next tile's place in the line, or -1.
  __device__ __forceinline__ int next() {
    if (at_ >= end_) {
      chunk_ += gridDim.x;
      at_ = chunk_ * steps_;
      end_ = min(at_ + steps_, total_);
      if (at_ >= end_) {
        return -1;
      }
    }
    return at_++;
  }

 private:
  const int steps_;
  const int total_;
  int chunk_;
  int at_;
  int end_;
};

__device__ __forceinline__ void load_weight_tile(const GemmArguments& a, const GemmShared& shared,
                                                 const Ring& ring, uint32_t slot, int at) {
  const int unit = at / a.k_tiles;
  const int index = unit / a.n_tiles;
  const int expert = a.plan == nullptr ? 0 : shared.of[index].expert;
  bulk_load(ring.weights(slot),
            a.weights + weight_tile_start(expert, unit - index * a.n_tiles, at - unit * a.k_tiles,
                                          a.n_tiles, a.k_tiles),
            kTileBytes, ring.full(slot));
}

__device__ __forceinline__ void load_token_tile(const GemmArguments& a, const GroupPlan& plan,
                                                const Ring& ring, uint32_t slot, int at) {
  const int k_tile = at % a.k_tiles;
  const size_t start = static_cast<size_t>(plan.first_row) * a.k_tiles + k_tile * plan.tile_rows;
  bulk_load(ring.tokens(slot), a.tokens + start * kTileK, plan.tile_rows * kRowBytes,
            ring.full(slot));
}

// One thread. `walk` and `at` are where early_weights left them, `early` how many tiles it took.
__device__ __forceinline__ void produce(const GemmArguments& a, const GemmShared& shared,
                                        const Ring& ring, int early) {
  TileWalk walk(a, shared.chosen);
  RingAt ring_at;
  for (int tile = walk.next(); tile >= 0; tile = walk.next()) {
    const GroupPlan& plan = shared.of[tile / a.k_tiles / a.n_tiles].plan;
    if (early > 0) {
      early--;
    } else {
      barrier_wait(ring.empty(ring_at.slot), ring_at.parity ^ 1);
      barrier_arrive_expect(ring.full(ring_at.slot), kTileBytes + plan.tile_rows * kRowBytes);
      load_weight_tile(a, shared, ring, ring_at.slot, tile);
    }
    load_token_tile(a, plan, ring, ring_at.slot, tile);
    ring_at.next(ring.stages);
  }
}

// A projection's first weights, before its predecessor is done. One thread; returns how many tiles.
__device__ __forceinline__ int early_weights(const GemmArguments& a, const GemmShared& shared,
                                             const Ring& ring) {
  TileWalk walk(a, 1);
  int early = 0;
  while (early < static_cast<int>(ring.stages)) {
    const int tile = walk.next();
    if (tile < 0) {
      break;
    }
    barrier_arrive_expect(ring.full(early), kTileBytes + a.rows * kRowBytes);
    load_weight_tile(a, shared, ring, early, tile);
    early++;
  }
  return early;
}

// The chosen experts in ascending order, by one warp.
__device__ __forceinline__ void find_chosen(const GemmArguments& a, GemmShared& shared, int lane) {
  GroupPlan plan{0, 0, 0, 0};
  if (a.plan == nullptr) {
    plan = lane == 0 ? GroupPlan{0, a.valid_rows, a.rows, 1} : plan;
  } else if (lane < a.experts) {
    const uint4 raw = load_written(a.plan + lane);
    plan = {static_cast<int>(raw.x), static_cast<int>(raw.y), static_cast<int>(raw.z),
            static_cast<int>(raw.w)};
  }
  const unsigned chosen = __ballot_sync(kAllLanes, plan.rows > 0);
  const int max_rows = __reduce_max_sync(kAllLanes, plan.tile_rows);
  if (plan.rows > 0) {
    shared.of[__popc(chosen & ((1u << lane) - 1))] = {lane, plan};
  }
  if (lane == 0) {
    shared.chosen = __popc(chosen);
    shared.max_rows = max_rows;
  }
}

// acc += 64 weight rows x kN tokens over `count` tiles of K.
template <int kN>
__device__ __forceinline__ void multiply(float (&acc)[kN / 2], const Ring& ring, RingAt& at,
                                         int count, int warpgroup, int lane) {
  uint32_t previous = 0;
#pragma unroll 1
  for (int k = 0; k < count; k++) {
    barrier_wait(ring.full(at.slot), at.parity);
    const uint64_t a = matrix_descriptor(ring.weights(at.slot) + warpgroup * (kTileBytes / 2));
    const uint64_t b = matrix_descriptor(ring.tokens(at.slot));
    wgmma_fence();
#pragma unroll
    for (int i = 0; i < kTileK / 16; i++) {
      wgmma_bf16<kN>(acc, a + 2 * i, b + 2 * i);
    }
    wgmma_commit();
    wgmma_wait<1>();
    if (k > 0 && lane == 0) {
      barrier_arrive(ring.empty(previous));
    }
    previous = at.slot;
    at.next(ring.stages);
  }
  wgmma_wait<0>();
  keep_order(acc);
  if (lane == 0) {
    barrier_arrive(ring.empty(previous));
  }
}

// Of one piece of one n_tile: where its sums go.
struct Piece {
  GroupPlan plan;
  int n_tile;
  int part;
};

// Calls the instance of n = plan.tile_rows.
template <class Epilogue, int kN = kTileRowStep>
__device__ __forceinline__ void multiply_piece(const Piece& piece, const Epilogue& epilogue,
                                               const Ring& ring, RingAt& at, int count,
                                               int warpgroup, int lane) {
  if (piece.plan.tile_rows == kN) {
    float acc[kN / 2] = {};  // left undefined, all sizes' accumulators would be live at once
    multiply<kN>(acc, ring, at, count, warpgroup, lane);
    epilogue.template finish<kN>(acc, piece);
  } else if constexpr (kN < kMaxTileRows) {
    multiply_piece<Epilogue, kN + kTileRowStep>(piece, epilogue, ring, at, count, warpgroup, lane);
  }
}

template <class Epilogue>
__device__ __forceinline__ void consume(const GemmArguments& a, const GemmShared& shared,
                                        const Epilogue& epilogue, const Ring& ring) {
  const int warpgroup = threadIdx.x / 128;
  const int lane = threadIdx.x % kWarpSize;
  const int total = shared.chosen * a.n_tiles * a.k_tiles;
  RingAt ring_at;
  for (int chunk = blockIdx.x; chunk * a.steps < total; chunk += gridDim.x) {
    const int end = min((chunk + 1) * a.steps, total);
    for (int at = chunk * a.steps; at < end;) {
      const int unit = at / a.k_tiles;
      const int index = unit / a.n_tiles;
      const int count = min(end - at, (unit + 1) * a.k_tiles - at);
      const Piece piece{shared.of[index].plan, unit - index * a.n_tiles,
                        chunk - unit * a.k_tiles / a.steps};
      multiply_piece(piece, epilogue, ring, ring_at, count, warpgroup, lane);
      at += count;
    }
  }
}

// ---- epilogues ----------------------------------------------------------------------------------

// fp32 sums as rows, straight from registers: eight lanes write 32 consecutive bytes.
struct StoreParts {
  static constexpr bool kStaging = false;
  float* parts;  // [parts, rows, width]
  int rows;
  int width;

  template <int kN>
  __device__ __forceinline__ void finish(const float (&acc)[kN / 2], const Piece& piece) const {
    const int lane = threadIdx.x % kWarpSize;
    const int column = piece.n_tile * kTileRows + threadIdx.x / kWarpSize * 16 + lane / 4;
    if (column >= width) {  // a multiple of 16: the whole warp
      return;
    }
    const int first = lane % 4 * 2;
    float* to = parts + column +
                (static_cast<size_t>(piece.part) * rows + piece.plan.first_row + first) * width;
    const int left = piece.plan.rows - first;  // rows from the lane's first on
#pragma unroll
    for (int j = 0; j < kN / 8; j++) {
#pragma unroll
      for (int c = 0; c < 2; c++) {
        if (8 * j + c < left) {
          to[c * width] = acc[4 * j + c];
          to[c * width + 8] = acc[4 * j + 2 + c];
        }
      }
      to += 8 * width;
      asm volatile("" : "+l"(to));  // one address at a time: all at once would spill
    }
  }
};

__device__ __forceinline__ uint32_t swiglu_pair(const float (&acc)[4]) {
  const __nv_bfloat162 pair =
      __floats2bfloat162_rn(__fdividef(acc[0], 1.0f + __expf(-acc[0])) * acc[2],
                            __fdividef(acc[1], 1.0f + __expf(-acc[1])) * acc[3]);
  return *reinterpret_cast<const uint32_t*>(&pair);
}

// Gate and up are 8 rows apart, in one thread. A warp makes 8 of the tile's 64 columns: one 16-byte
// chunk of every token, transposed into the image of the token tile and copied from there.
struct StoreSwiglu {
  static constexpr bool kStaging = true;
  __nv_bfloat16* h;
  int n_tiles;  // of gate_up, k tiles of h
  uint32_t staging;

  template <int kN>
  __device__ __forceinline__ void finish(const float (&acc)[kN / 2], const Piece& piece) const {
    const int lane = threadIdx.x % kWarpSize;
    const int chunk = threadIdx.x / kWarpSize;
    named_sync(kConsumerBarrier, kConsumerThreads);  // the last tile has been copied
#pragma unroll
    for (int j = 0; j < kN / 8; j += 2) {
      const float (&first)[4] = reinterpret_cast<const float (&)[4]>(acc[4 * j]);
      const float (&second)[4] = reinterpret_cast<const float (&)[4]>(acc[4 * j + 4]);
      store_matrices_transposed(staging + swizzled_bytes(j * 8 + lane % 16, chunk),
                                {swiglu_pair(first), swiglu_pair(second)});
    }
    named_sync(kConsumerBarrier, kConsumerThreads);
    uint4* tile =
        reinterpret_cast<uint4*>(h + (static_cast<size_t>(piece.plan.first_row) * n_tiles +
                                      static_cast<size_t>(piece.n_tile) * kN) *
                                         kTileK);
    for (int i = threadIdx.x; i < kN * kChunksPerRow; i += kConsumerThreads) {
      tile[i] = load_shared_16(staging + i * 16);
    }
  }
};

template <class Epilogue>
__device__ __forceinline__ void decode_gemm(const GemmArguments& a, Epilogue epilogue) {
  GemmShared& shared = *reinterpret_cast<GemmShared*>(dynamic_shared);
  const int lane = threadIdx.x % kWarpSize;
  const bool producer = threadIdx.x == kConsumerThreads;
  const auto ring_for = [&](int max_rows) {
    const int stage_bytes = kTileBytes + max_rows * kRowBytes;
    const int staging = Epilogue::kStaging ? max_rows * kRowBytes : 0;
    const int stages = min(kMaxStages, (a.shared_bytes - 2048 - staging) / stage_bytes);
    return Ring{shared_address(dynamic_shared) + 1024 + staging, static_cast<uint32_t>(stage_bytes),
                static_cast<uint32_t>(stages)};
  };
  int early = 0;
  if (producer) {
    for (int slot = 0; slot < kMaxStages; slot++) {
      barrier_init(shared_address(&shared.full[slot]), 1);
      barrier_init(shared_address(&shared.empty[slot]), kConsumerThreads / kWarpSize);
    }
    barrier_init_fence();
    fence_async_proxy();
    if (a.plan == nullptr) {
      early = early_weights(a, shared, ring_for(a.rows));
    }
  }
  wait_for_predecessor();
  if (threadIdx.x < kWarpSize) {
    find_chosen(a, shared, lane);
  }
  __syncthreads();
  release_successor();
  const Ring ring = ring_for(shared.max_rows);
  if (producer) {
    produce(a, shared, ring, early);
  } else if (threadIdx.x < kConsumerThreads) {
    if constexpr (Epilogue::kStaging) {
      epilogue.staging = shared_address(dynamic_shared) + 1024;
    }
    consume(a, shared, epilogue, ring);
  }
}

}  // namespace

extern "C" __global__ void __launch_bounds__(kGemmThreads, 1)
    decode_gemm_parts_bf16(float* parts,                  // [parts, part_rows, width]
                           const __nv_bfloat16* weights,  // tiled [E][n_tiles][k_tiles]
                           const __nv_bfloat16* tokens,   // token tiles
                           const GroupPlan* plan,         // [E]; null: a projection
                           int experts, int rows, int valid_rows, int n_tiles, int k_tiles,
                           int steps, int part_rows, int width, int shared_bytes) {
  decode_gemm(GemmArguments{weights, tokens, plan, experts, rows, valid_rows, n_tiles, k_tiles,
                            steps, shared_bytes},
              StoreParts{parts, part_rows, width});
}

extern "C" __global__ void __launch_bounds__(kGemmThreads, 1)
    decode_gemm_swiglu_bf16(__nv_bfloat16* h,              // token tiles [padded rows, 64 n_tiles]
                            const __nv_bfloat16* weights,  // tiled [E][n_tiles][k_tiles]
                            const __nv_bfloat16* tokens,   // token tiles [padded rows, 64 k_tiles]
                            const GroupPlan* plan,         // [E]
                            int experts, int n_tiles, int k_tiles, int shared_bytes) {
  decode_gemm(
      GemmArguments{weights, tokens, plan, experts, 0, 0, n_tiles, k_tiles, k_tiles, shared_bytes},
      StoreSwiglu{h, n_tiles, 0});
}
