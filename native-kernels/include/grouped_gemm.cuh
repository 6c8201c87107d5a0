// The persistent grouped GEMM of Hopper prefill: for every expert e and its rows x of one GEMM,
// y = W[e] x^T, with fp32 accumulation along K in one fixed order, whatever the tiling. Operands are
// bf16, or FP8 in one of two ways (gemm_formats.cuh).
//
// Weights are wgmma's A: 128 rows of one tile, 64 for each of two consumer warpgroups. Tokens are B
// with n = 16 ... 256 columns, chosen per expert at run time, one instance of the loop per n. A
// stage holds 64 columns of K: 16 KB of weights and n * 128 bytes of tokens, each brought by one
// bulk copy, because both lie in device memory as shared memory wants them (tiled_layout.cuh).
// In a cluster of two CTAs the weights' tiles are neighbours and each CTA multicasts half of the
// tokens: a step takes 16 KB + 64 n bytes out of L2. The time of a unit grows as n + 256, as if that
// traffic (6.3 TB/s over all CTAs) set it. (Clusters of four, 2 x 2, take a quarter less, but only
// 30 fit: 120 of an H100's 132 multiprocessors, and 0.93 of the speed.)
//
// Block of 384 threads: warpgroup 0 copies (thread 0) and, where the epilogue asks, stores (warp
// 1); warpgroups 1 and 2 multiply. 168 registers at launch become 56 and 224. Grid: as many
// clusters as fit, at most; each walks the units of work (expert, pair of weight tiles, token tile)
// with a fixed stride, token tile fastest, so that CTAs in flight share weights in L2.
#pragma once

#include "grouped_plan.cuh"
#include "ptx_sm90.cuh"
#include "tile_products.cuh"

constexpr int kGemmThreads = 384;
constexpr int kConsumers = 256;
constexpr int kConsumerWarps = kConsumers / 32;
constexpr int kStagingFree = 1;  // named barriers; 0 is __syncthreads
constexpr int kStagingFull = 2;
constexpr int kWarpgroupBarrier = 3;  // and 4

struct GemmOperands {
  const char* weights;          // tiled [experts][n_tiles][k_tiles]
  const char* scales;           // of FP8 weights: fp8_codes.cuh
  const char* tokens;           // tiled, first rows as planned
  const float* token_scales;    // of FP8 tokens: gemm_formats.cuh
  const GroupPlan* plan;         // of all experts; null: one expert of `rows` rows
  int experts;
  int rows;           // without a plan: rows, cut into tiles of at most
  int max_tile_rows;  // this many
  int n_tiles;
  int k_tiles;      // of the weights
  int token_tiles;  // of the tokens
};

constexpr int kCluster = 2;  // CTAs with neighbouring weight tiles and the same tokens
constexpr int kRingBytes = 4 * (kTileBytes + kMaxTileRows * kRowBytes);
constexpr int kMaxStages = 8;
constexpr int kStagingBytes = 32 * 1024;
constexpr int kExtraBytes = 1024;  // of a stage with scales
constexpr int kGemmSharedBytes = kRingBytes + kStagingBytes + 2 * kMaxStages * 8;
static_assert(kGemmSharedBytes == 229504, "launchers use this size");
static_assert(kGemmSharedBytes <= 232448, "a block of sm_90 has at most 227 KB of shared memory");

struct Unit {
  int expert;
  int n_tile;     // of this CTA; may be n_tiles where the pair's second tile does not exist
  int first_row;  // padded row where the token tile starts
  int n;          // its rows, a multiple of 16
  int rows;       // of them valid
};

// Walks this cluster's units in ascending order; every role of the block walks alike.
class UnitWalk {
 public:
  __device__ __forceinline__ explicit UnitWalk(const GemmOperands& op)
      : op_(op), unit_(blockIdx.x / kCluster) {
    load();
  }

  // Rows of the tallest token tile of all, which come first.
  __device__ __forceinline__ int max_tile_rows() const { return group_.tile_rows; }

  __device__ __forceinline__ bool next(Unit& out) {
    const int weight_groups = ceil_div(op_.n_tiles, kCluster);
    while (unit_ >= first_unit_ + group_.tiles * weight_groups) {
      first_unit_ += group_.tiles * weight_groups;
      if (++turn_ >= op_.experts) {
        return false;
      }
      load();
    }
    const int local = unit_ - first_unit_;
    const int tile = local % group_.tiles;
    out.expert = expert_;
    out.n_tile = local / group_.tiles * kCluster + cluster_rank();
    out.first_row = group_.first_row + tile * group_.tile_rows;
    out.n = group_.tile_rows;
    out.rows = min(group_.tile_rows, group_.rows - tile * group_.tile_rows);
    unit_ += gridDim.x / kCluster;
    return true;
  }

 private:
  __device__ __forceinline__ void load() {
    if (op_.plan == nullptr) {
      group_ = plan_group(0, op_.rows, op_.max_tile_rows);
    } else {
      expert_ = __ldg(reinterpret_cast<const int*>(op_.plan + op_.experts + 1) + turn_);
      const int4 raw = __ldg(reinterpret_cast<const int4*>(op_.plan) + expert_);
      group_ = {raw.x, raw.y, raw.z, raw.w};
    }
  }

  const GemmOperands& op_;
  int unit_;
  int turn_ = 0;
  int expert_ = 0;
  int first_unit_ = 0;
  GroupPlan group_;
};

// Shared memory: a ring of stages as many as their size lets in, staging of the epilogue, barriers
// "full" and "empty" of each slot. Small tiles get more stages, up to 8: they need as many bytes in
// flight (QKV at 64 rows: 111 TFLOP/s with 8 stages, 91 with 4; neutral where tiles are tall).
struct GemmShared {
  uint32_t base;
  uint32_t stage_bytes;
  uint32_t stages;

  // row_tiles: token tiles of a stage; extra: bytes behind them.
  __device__ __forceinline__ GemmShared(uint32_t start, int max_tile_rows, int row_tiles, int extra)
      : base(start),
        stage_bytes(kTileBytes + row_tiles * max_tile_rows * kRowBytes + extra),
        stages(min(kMaxStages, kRingBytes / static_cast<int>(stage_bytes))) {}
  __device__ __forceinline__ uint32_t weights(uint32_t slot) const {
    return base + slot * stage_bytes;
  }
  __device__ __forceinline__ uint32_t tokens(uint32_t slot) const {
    return weights(slot) + kTileBytes;
  }
  __device__ __forceinline__ uint32_t extra(uint32_t slot) const {
    return weights(slot + 1) - kExtraBytes;
  }
  __device__ __forceinline__ uint32_t staging() const { return base + kRingBytes; }
  __device__ __forceinline__ uint32_t full(uint32_t slot) const {
    return staging() + kStagingBytes + slot * 8;
  }
  __device__ __forceinline__ uint32_t empty(uint32_t slot) const {
    return full(slot) + kMaxStages * 8;
  }
};

struct RingPlace {
  uint32_t slot = 0;
  uint32_t parity = 0;

  __device__ __forceinline__ void advance(uint32_t stages) {
    if (++slot == stages) {
      slot = 0;
      parity ^= 1;
    }
  }
};

// One thread. Fills slot after slot as soon as the consumers of both CTAs have freed it: this CTA's
// weights, and its half of the tokens for both.
template <class Format>
__device__ __forceinline__ void gemm_produce(const GemmOperands& op, const GemmShared& shared) {
  UnitWalk walk(op);
  const uint32_t rank = cluster_rank();
  RingPlace place;
  Unit unit;
  while (walk.next(unit)) {
    const int n_tile = min(unit.n_tile, op.n_tiles - 1);
    size_t tile = (static_cast<size_t>(unit.expert) * op.n_tiles + n_tile) * op.k_tiles;
    const int tile_bytes = unit.n * kRowBytes;
    const int share = tile_bytes / kCluster;
    const char* tokens = op.tokens +
                         static_cast<size_t>(unit.first_row) * op.token_tiles * kRowBytes +
                         rank * share;
    for (int k = 0; k < op.k_tiles; k++, tile++) {
      const uint32_t full = shared.full(place.slot);
      barrier_wait(shared.empty(place.slot), place.parity ^ 1);
      barrier_arrive_expect(
          full, kTileBytes + Format::kTokenTiles * tile_bytes + Format::extra_bytes(unit.n));
      bulk_load(shared.weights(place.slot), op.weights + tile * kTileBytes, kTileBytes, full);
#pragma unroll
      for (int i = 0; i < Format::kTokenTiles; i++) {
        // Where the weight's last tile is half of zeros, they meet tokens once more.
        const int at = min(k * Format::kTokenTiles + i, op.token_tiles - 1);
        bulk_load_multicast(shared.tokens(place.slot) + i * tile_bytes + rank * share,
                            tokens + static_cast<size_t>(at) * tile_bytes, share, full,
                            (1 << kCluster) - 1);
      }
      if (Format::extra_bytes(unit.n) > 0) {
        bulk_load(shared.extra(place.slot), Format::extra(op, unit, tile, k),
                  Format::extra_bytes(unit.n), full);
      }
      place.advance(shared.stages);
    }
  }
}

// Tells the producers of both CTAs that this warp has read the slot.
__device__ __forceinline__ void release(const GemmShared& shared, uint32_t slot, int lane) {
  if (lane < kCluster) {
    barrier_arrive_remote(shared.empty(slot), lane);
  }
}

// Operands in bf16: a stage is 64 columns.
struct GemmBf16 {
  static constexpr int kTokenTiles = 1;
  static constexpr int kMaxRows = kMaxTileRows;
  static constexpr int kStep = kTileRowStep;  // of n, among the instances of the loop
  static __host__ __device__ constexpr int extra_bytes(int) { return 0; }
  static __device__ __forceinline__ const void* extra(const GemmOperands&, const Unit&, size_t,
                                                      int) {
    return nullptr;
  }
};

// acc = 64 weight rows x kN tokens over all of K. One stage's products are always in flight.
template <int kN>
__device__ __forceinline__ void gemm_multiply(GemmBf16, float (&acc)[kN / 2], const Unit&,
                                              const GemmOperands& op, const GemmShared& shared,
                                              RingPlace& place, int warpgroup, int lane) {
  // Zeroed rather than left to the first product: a register that is read before it is written
  // counts as live through every instance of this loop, and all of them spill.
#pragma unroll
  for (int i = 0; i < kN / 2; i++) {
    acc[i] = 0.0f;
  }
  uint32_t last = 0;
  for (int k = 0; k < op.k_tiles; k++) {
    barrier_wait(shared.full(place.slot), place.parity);
    multiply_tile<kN>(acc, shared.weights(place.slot) + warpgroup * (kTileBytes / 2),
                      shared.tokens(place.slot));
    wgmma_wait<1>();
    if (k > 0) {
      release(shared, last, lane);
    }
    last = place.slot;
    place.advance(shared.stages);
  }
  wgmma_wait<0>();
  keep_order(acc);
  release(shared, last, lane);
}

// Two warpgroups. One instance of the loop for each n; n is the same for the whole block. Where
// instances are few, the columns beyond n multiply what lies behind the tokens, and nobody reads
// them.
template <class Format, class Epilogue, int kN = Format::kStep>
__device__ __forceinline__ void gemm_unit(const Unit& unit, const GemmShared& shared,
                                          const GemmOperands& op, const Epilogue& epilogue,
                                          RingPlace& place, int warpgroup, int lane) {
  if (unit.n <= kN) {
    float acc[kN / 2];
    gemm_multiply<kN>(Format{}, acc, unit, op, shared, place, warpgroup, lane);
    epilogue.template finish<kN>(acc, unit, shared.staging());
  } else if constexpr (kN < Format::kMaxRows) {
    gemm_unit<Format, Epilogue, kN + Format::kStep>(unit, shared, op, epilogue, place, warpgroup,
                                                    lane);
  }
}

template <class Format, class Epilogue>
__device__ __forceinline__ void grouped_gemm(const GemmOperands& op, const Epilogue& epilogue) {
  extern __shared__ __align__(1024) uint8_t dynamic_shared[];
  const GemmShared shared(shared_address(dynamic_shared), UnitWalk(op).max_tile_rows(),
                          Format::kTokenTiles, Format::extra_bytes(kTileRowStep) > 0 ? kExtraBytes : 0);
  const int warpgroup = threadIdx.x / 128;
  const int warp = threadIdx.x / 32;
  const int lane = threadIdx.x % 32;
  if (threadIdx.x == 0) {
    for (uint32_t slot = 0; slot < shared.stages; slot++) {
      barrier_init(shared.full(slot), 1);
      barrier_init(shared.empty(slot), kConsumerWarps * kCluster);
    }
    barrier_init_fence();
  }
  __syncthreads();
  cluster_sync();  // no copy may arrive at a barrier that is not there yet
  if (warpgroup == 0) {
    fewer_registers<56>();
    if (threadIdx.x == 0) {
      gemm_produce<Format>(op, shared);
    }
    if constexpr (Epilogue::kStoreWarp) {
      if (warp == 1) {
        UnitWalk walk(op);
        Unit unit;
        while (walk.next(unit)) {
          epilogue.store(unit, shared.staging(), lane);
        }
      }
    }
  } else {
    more_registers<224>();
    UnitWalk walk(op);
    RingPlace place;
    Unit unit;
    while (walk.next(unit)) {
      epilogue.begin(unit);
      gemm_unit<Format>(unit, shared, op, epilogue, place, warpgroup - 1, lane);
    }
  }
  __syncwarp();
  cluster_sync();  // the other CTA may still arrive at this one's barriers
}
