// The projections and expert GEMMs of a decode step of 9 to 256 tokens, for weights of any format;
// what they do and how they are launched stands in kernels/sm90a/decode_gemm.cu.
#pragma once

#include "decode_epilogues.cuh"
#include "decode_tokens.cuh"

constexpr int kProducers = 2;  // warps: one copies weights, one tokens
constexpr int kGemmThreads = 2 * kWarpgroupThreads + kProducers * kWarpSize;
constexpr int kHalfGemmThreads = kWarpgroupThreads + kProducers * kWarpSize;
constexpr int kFp8GemmThreads = 3 * kWarpgroupThreads;  // a warpgroup gives registers away
constexpr int kMaxStages = 16;
constexpr int kMaxChosen = 20;  // token tiles of all experts: 16, and up to 3 more where cut

extern __shared__ __align__(1024) uint8_t dynamic_shared[];

struct GemmArguments {
  const char* weights;
  const __nv_bfloat16* tokens;
  const GroupPlan* plan;  // null: a projection
  int experts;
  int rows;        // tile rows of a projection
  int valid_rows;  // of them tokens
  int n_units;  // units of weight rows
  int k_tiles;
  int steps;
  int shared_bytes;
  const char* scales;  // of FP8 weights
  int token_tiles;     // k tiles of the tokens, 64 columns each
};

struct GemmShared {
  uint64_t full[kMaxStages];
  uint64_t empty[kMaxStages];
  int chosen;    // of experts with rows
  int max_rows;  // the largest n
  ChosenRows of[kMaxChosen];
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
  template <class Format>
  __device__ __forceinline__ uint32_t tokens(uint32_t slot) const {
    return weights(slot) + unit_bytes<Format>();
  }
  __device__ __forceinline__ uint32_t scales(uint32_t slot) const {
    return weights(slot + 1) - 1024;
  }
  // The barriers are the first of the shared memory: no register holds where.
  static __device__ __forceinline__ uint32_t full(uint32_t slot) {
    return shared_address(dynamic_shared) + slot * 8;
  }
  static __device__ __forceinline__ uint32_t empty(uint32_t slot) {
    return full(slot) + kMaxStages * 8;
  }
};

// Where chunk `chunk` of the line of units' tiles begins and ends. Every chosen entry is cut alike.
struct Chunk {
  int at;
  int end;

  __device__ __forceinline__ Chunk(const GemmArguments& a, int chosen, int chunk) {
    const int tiles = a.n_units * a.k_tiles;
    const int chunks = ceil_div(tiles, a.steps);
    const int entry = chunk / chunks;
    at = entry * tiles + (chunk - entry * chunks) * a.steps;
    end = entry < chosen ? min(at + a.steps, (entry + 1) * tiles) : at;
  }
};

// Walks this block's weight tiles in the order in which they are multiplied. It divides once a chunk:
// divisions for each tile took the producer longer (0.4 us) than the tile's bytes take to arrive.
class TileWalk {
 public:
  __device__ __forceinline__ TileWalk(const GemmArguments& a, int chosen)
      : a_(a), chosen_(chosen), chunk_(blockIdx.x), now_(a, chosen, blockIdx.x) {
    find();
  }

  __device__ __forceinline__ bool done() const { return now_.at >= now_.end; }

  __device__ __forceinline__ void next() {
    now_.at++;
    if (done()) {
      chunk_ += gridDim.x;
      now_ = Chunk(a_, chosen_, chunk_);
      find();
    } else if (++k_tile == a_.k_tiles) {  // a projection's chunk
      k_tile = 0;
      unit++;
    }
  }

  int entry;   // of those chosen
  int unit;    // of the entry's
  int k_tile;  // of the unit's

 private:
  __device__ __forceinline__ void find() {
    const int line = now_.at / a_.k_tiles;
    k_tile = now_.at - line * a_.k_tiles;
    entry = line / a_.n_units;
    unit = line - entry * a_.n_units;
  }

  const GemmArguments& a_;
  const int chosen_;
  int chunk_;
  Chunk now_;
};

// Formats: how a stage is laid out and multiplied. A stage is a unit of 64 weight rows for each
// warpgroup, 64 columns of bf16 or 128 of codes, the token tiles of as many columns, and the scales
// of FP8.
struct GemmBf16 {
  static constexpr int kWarpgroups = 2;
  static constexpr int kStages = 8;
  static constexpr int kTokenTiles = 1;
  static constexpr int kMaxRows = kMaxTileRows;
  static constexpr bool kShiftRegisters = false;
  static constexpr int kScaleBytes = 0;
};

// Half a weight tile at a time: where K stays whole there are twice as many units to share out.
struct GemmBf16Half : GemmBf16 {
  static constexpr int kWarpgroups = 1;
  static constexpr int kStages = 16;
};

template <bool kMx>
struct GemmFp8 {
  static constexpr int kWarpgroups = 2;
  static constexpr int kStages = 8;
  static constexpr int kTokenTiles = 2;
  static constexpr bool kShiftRegisters = true;
  static constexpr int kMaxRows = 128;  // sums of a tile and of all have 64 registers each
  static constexpr int kScaleBytes = kMx ? kMxTileBytes : kTileScales * sizeof(float);
};

template <bool kMx>
struct GemmFp8Half : GemmFp8<kMx> {
  static constexpr int kWarpgroups = 1;
  static constexpr int kStages = 16;
  static constexpr bool kShiftRegisters = false;  // one warpgroup may have all it wants
  static constexpr int kScaleBytes = GemmFp8<kMx>::kScaleBytes / 2;
};

template <class Format>
__device__ __forceinline__ int stage_bytes_for(int rows) {
  // Whole kilobytes: tiles begin with them.
  return unit_bytes<Format>() + Format::kTokenTiles * rows * kRowBytes +
         (Format::kScaleBytes > 0 ? 1024 : 0);
}

// kOnce: experts' weights, which nothing reads again soon, make way for the rest in L2.
template <class Format, bool kOnce>
__device__ __forceinline__ void load_weight_tile(const GemmArguments& a, int expert,
                                                 const Ring& ring, uint32_t slot, int unit,
                                                 int k_tile) {
  constexpr int kUnits = tile_units<Format>();
  const size_t at = static_cast<size_t>(expert) * a.n_units + unit;
  const size_t tile = at / kUnits * a.k_tiles + k_tile;
  const char* from = a.weights + tile * kTileBytes + at % kUnits * unit_bytes<Format>();
  if (kOnce && a.plan != nullptr) {
    bulk_load_once(ring.weights(slot), from, unit_bytes<Format>(), ring.full(slot));
  } else {
    bulk_load(ring.weights(slot), from, unit_bytes<Format>(), ring.full(slot));
  }
  if constexpr (Format::kScaleBytes > 0) {
    const size_t scales = tile * kUnits + at % kUnits;
    bulk_load(ring.scales(slot), a.scales + scales * Format::kScaleBytes, Format::kScaleBytes,
              ring.full(slot));
  }
}

template <class Format>
__device__ __forceinline__ void load_token_tiles(const GemmArguments& a, const ChosenRows& rows,
                                                 const Ring& ring, uint32_t slot, int k_tile) {
  const __nv_bfloat16* from = a.tokens + (static_cast<size_t>(rows.plan.first_row) * a.token_tiles +
                                          rows.first) *
                                             kTileK;
  const int first = k_tile * Format::kTokenTiles;
  const int tile_bytes = rows.n * kRowBytes;
  const auto load = [&](int i, int tile, int tiles) {
    bulk_load(ring.tokens<Format>(slot) + i * tile_bytes,
              from + static_cast<size_t>(tile) * rows.plan.tile_rows * kTileK, tiles * tile_bytes,
              ring.full(slot));
  };
  // Tiles of whole rows stand one after the other.
  if (rows.n == rows.plan.tile_rows && first + Format::kTokenTiles <= a.token_tiles) {
    load(0, first, Format::kTokenTiles);
    return;
  }
#pragma unroll
  for (int i = 0; i < Format::kTokenTiles; i++) {
    // Where the weight's last tile is half of zeros, they meet tokens once more.
    load(i, min(first + i, a.token_tiles - 1), 1);
  }
}

template <class Format>
__device__ __forceinline__ void expect_stage(const Ring& ring, uint32_t slot, int n) {
  barrier_arrive_expect(ring.full(slot), unit_bytes<Format>() + Format::kScaleBytes +
                                             Format::kTokenTiles * n * kRowBytes);
}

// One thread. `early`: how many tiles early_weights took.
template <class Format, bool kOnce>
__device__ __forceinline__ void produce_weights(const GemmArguments& a, const GemmShared& shared,
                                                const Ring& ring, int early) {
  RingAt ring_at;
  for (TileWalk walk(a, shared.chosen); !walk.done(); walk.next()) {
    const ChosenRows& rows = shared.of[walk.entry];
    if (early > 0) {
      early--;
    } else {
      barrier_wait(ring.empty(ring_at.slot), ring_at.parity ^ 1);
      expect_stage<Format>(ring, ring_at.slot, rows.n);
      load_weight_tile<Format, kOnce>(a, rows.expert, ring, ring_at.slot, walk.unit, walk.k_tile);
    }
    ring_at.next(ring.stages);
  }
}

// One thread. A stage's tokens may arrive before its weights are expected: it is full when both are there.
template <class Format>
__device__ __forceinline__ void produce_tokens(const GemmArguments& a, const GemmShared& shared,
                                               const Ring& ring) {
  RingAt ring_at;
  for (TileWalk walk(a, shared.chosen); !walk.done(); walk.next()) {
    barrier_wait(ring.empty(ring_at.slot), ring_at.parity ^ 1);
    load_token_tiles<Format>(a, shared.of[walk.entry], ring, ring_at.slot, walk.k_tile);
    ring_at.next(ring.stages);
  }
}

// The first weights, before the predecessor is done. One thread; returns how many tiles.
template <class Format, bool kOnce>
__device__ __forceinline__ int early_weights(const GemmArguments& a, const GemmShared& shared,
                                             const Ring& ring) {
  int early = 0;
  for (TileWalk walk(a, shared.chosen);
       !walk.done() && early < static_cast<int>(ring.stages); walk.next()) {
    const ChosenRows& rows = shared.of[walk.entry];
    expect_stage<Format>(ring, early, rows.n);
    load_weight_tile<Format, kOnce>(a, rows.expert, ring, early, walk.unit, walk.k_tile);
    early++;
  }
  return early;
}

// The chosen experts in ascending order, by one warp.
template <class Format>
__device__ __forceinline__ void find_chosen(const GemmArguments& a, GemmShared& shared, int lane) {
  GroupPlan plan{0, 0, 0, 0};
  if (a.plan == nullptr) {
    plan = lane == 0 ? GroupPlan{0, a.valid_rows, a.rows, 1} : plan;
  } else if (lane < a.experts) {
    const uint4 raw = load_written(a.plan + lane);
    plan = {static_cast<int>(raw.x), static_cast<int>(raw.y), static_cast<int>(raw.z),
            static_cast<int>(raw.w)};
  }
  const unsigned lower = (1u << lane) - 1;
  const unsigned chosen = __ballot_sync(kAllLanes, plan.rows > 0);
  const unsigned cut = __ballot_sync(kAllLanes, plan.tile_rows > Format::kMaxRows);
  const int max_rows =
      __reduce_max_sync(kAllLanes, min(plan.tile_rows, Format::kMaxRows));
  if (plan.rows > 0) {
    const int at = __popc(chosen & lower) + __popc(cut & lower);
    shared.of[at] = {plan, lane, 0, min(plan.tile_rows, Format::kMaxRows)};
    if (plan.tile_rows > Format::kMaxRows) {
      shared.of[at + 1] = {plan, lane, Format::kMaxRows, plan.tile_rows - Format::kMaxRows};
    }
  }
  if (lane == 0) {
    shared.chosen = __popc(chosen) + __popc(cut);
    shared.max_rows = max_rows;
  }
}

// This warp has read the slot.
__device__ __forceinline__ void release(const Ring& ring, uint32_t slot, int lane) {
  if (lane == 0) {
    barrier_arrive(ring.empty(slot));
  }
}

// acc += 64 weight rows x kN tokens over `count` tiles of K, in the order of grouped_gemm.cuh.
template <class Format, int kN>
__device__ __forceinline__ void multiply(GemmBf16, float (&acc)[kN / 2], const Ring& ring,
                                         RingAt& at, int count, int warpgroup, int lane) {
  uint32_t previous = 0;
#pragma unroll 1
  for (int k = 0; k < count; k++) {
    barrier_wait(ring.full(at.slot), at.parity);
    multiply_tile<kN>(acc, ring.weights(at.slot) + warpgroup * (kTileBytes / 2),
                      ring.tokens<Format>(at.slot));
    wgmma_wait<1>();
    if (k > 0) {
      release(ring, previous, lane);
    }
    previous = at.slot;
    at.next(ring.stages);
  }
  wgmma_wait<0>();
  keep_order(acc);
  release(ring, previous, lane);
}

// The same for codes.
template <class Format, int kN, bool kMx>
__device__ __forceinline__ void multiply(GemmFp8<kMx>, float (&acc)[kN / 2], const Ring& ring,
                                         RingAt& at, int count, int warpgroup, int lane) {
  const int strip = warpgroup * 4 + threadIdx.x / kWarpSize % 4;  // of 16 rows, the warp's
  const int row = strip * 16 + lane / 4;
  float sum[kMx ? 1 : kN / 2] = {};  // for the same reason as acc
#pragma unroll 1
  for (int k = 0; k < count; k++) {
    barrier_wait(ring.full(at.slot), at.parity);
    const CodeRows codes(ring.weights(at.slot), ring.scales(at.slot), row, lane, kMx);
    const float2 scale =
        kMx ? float2{} : load_shared_float2(ring.scales(at.slot) + strip * sizeof(float2));
    multiply_code_tile<kN, kMx>(acc, sum, codes, scale, ring.tokens<Format>(at.slot),
                                kN * kRowBytes);
    release(ring, at.slot, lane);
    at.next(ring.stages);
  }
}

// Calls the instance of its n.
template <class Format, class Epilogue, int kN = kTileRowStep>
__device__ __forceinline__ void multiply_piece(const Piece& piece, const Epilogue& epilogue,
                                               const Ring& ring, RingAt& at, int count,
                                               int warpgroup, int lane) {
  if (piece.rows.n == kN) {
    float acc[kN / 2] = {};  // left undefined, all sizes' accumulators would be live at once
    multiply<Format, kN>(Format{}, acc, ring, at, count, warpgroup, lane);
    epilogue.template finish<Format, kN>(acc, piece);
  } else if constexpr (kN < Format::kMaxRows) {
    multiply_piece<Format, Epilogue, kN + kTileRowStep>(piece, epilogue, ring, at, count, warpgroup,
                                                        lane);
  }
}

template <class Format, class Epilogue>
__device__ __forceinline__ void consume(const GemmArguments& a, const GemmShared& shared,
                                        const Epilogue& epilogue, const Ring& ring) {
  const int warpgroup = threadIdx.x / 128;
  const int lane = threadIdx.x % kWarpSize;
  const int chunks = ceil_div(a.n_units * a.k_tiles, a.steps);
  RingAt ring_at;
  for (int chunk = blockIdx.x;; chunk += gridDim.x) {
    Chunk now(a, shared.chosen, chunk);
    if (now.at >= now.end) {
      break;
    }
    while (now.at < now.end) {
      const int unit = now.at / a.k_tiles;
      const int k_tile = now.at - unit * a.k_tiles;
      const int entry = unit / a.n_units;
      const int of_entry = unit - entry * a.n_units;
      const int count = min(now.end - now.at, a.k_tiles - k_tile);
      const Piece piece{shared.of[entry], of_entry,
                        chunk - entry * chunks - of_entry * a.k_tiles / a.steps};
      multiply_piece<Format>(piece, epilogue, ring, ring_at, count, warpgroup, lane);
      now.at += count;
    }
  }
}

template <class Format, class Epilogue>
__device__ __forceinline__ void decode_gemm(const GemmArguments& a, Epilogue epilogue) {
  GemmShared& shared = *reinterpret_cast<GemmShared*>(dynamic_shared);
  const int lane = threadIdx.x % kWarpSize;
  constexpr int kConsumers = consumer_threads<Format>();
  const bool producer = threadIdx.x == kConsumers;
  const auto ring_for = [&](int max_rows) {
    const int stage_bytes = stage_bytes_for<Format>(max_rows);
    const int staging = Epilogue::kStaging ? max_rows * kRowBytes : 0;
    const int stages = min(Format::kStages, (a.shared_bytes - 2048 - staging) / stage_bytes);
    return Ring{shared_address(dynamic_shared) + 1024 + staging, static_cast<uint32_t>(stage_bytes),
                static_cast<uint32_t>(stages)};
  };
  if (producer) {
    for (int slot = 0; slot < kMaxStages; slot++) {
      barrier_init(shared_address(&shared.full[slot]), 1);
      barrier_init(shared_address(&shared.empty[slot]), kConsumers / kWarpSize);
    }
    barrier_init_fence();
    fence_async_proxy();
  }
  constexpr bool kPlanIsOlder = Epilogue::kPlanIsOlder;
  if constexpr (!kPlanIsOlder) {
    wait_for_predecessor();
  }
  if (threadIdx.x < kWarpSize) {
    find_chosen<Format>(a, shared, lane);
  }
  __syncthreads();
  const Ring ring = ring_for(shared.max_rows);
  int early = 0;
  if constexpr (kPlanIsOlder) {
    if (producer) {
      early = early_weights<Format, kPlanIsOlder>(a, shared, ring);
    }
    wait_for_predecessor();
  }
  release_successor();
  if (threadIdx.x >= kConsumers) {
    if constexpr (Format::kShiftRegisters) {
      fewer_registers<56>();
    }
    if (producer) {
      produce_weights<Format, kPlanIsOlder>(a, shared, ring, early);
    } else if (threadIdx.x == kConsumers + kWarpSize) {
      produce_tokens<Format>(a, shared, ring);
    }
  } else {
    if constexpr (Format::kShiftRegisters) {
      more_registers<224>();
    }
    if constexpr (Epilogue::kStaging) {
      epilogue.staging = shared_address(dynamic_shared) + 1024;
    }
    consume<Format>(a, shared, epilogue, ring);
  }
}
