// SwiGLU of the grouped GEMM, and its rows to E4M3 while other experts' rows are still multiplied: an
// expert's rows can be quantised once all of their columns are known, that is once all of its tiles are
// in memory, which the two warps of each block that have nothing else to do wait for. They never wait
// beyond the block's own work, so nothing depends on all blocks running at once: quantize_rest_fp8
// (quantize_rows.cu) does what is left, the last expert's rows at most. A warp takes a row at a time
// and reads it twice, the second time from L2. Codes and scales are those of quantize_tiles_fp8.
//
// One scale of a row, or a fixed one; scales of 128 columns have their own pass.
#pragma once

#include "gemm_epilogues.cuh"
#include "quantized_tiles.cuh"

struct SwigluToCodes : SwigluToTiles<true> {
  static constexpr bool kIdleWarps = true;
  static constexpr int kAtOnce = 3;  // loads of a lane in flight
  QuantizedTiles to;
  int* stored;  // [E] tiles in memory, zero at first
  int* taken;   // [E] rows begun, zero at first; may end beyond the expert's rows

  // Whether this block has no tiles left to store.
  static __device__ __forceinline__ volatile int& finished() {
    __shared__ volatile int flag;
    return flag;
  }
  static __device__ __forceinline__ void begin() { finished() = 0; }
  static __device__ __forceinline__ void end(int lane) {
    if (lane == 0) {
      finished() = 1;
    }
  }

  __device__ __forceinline__ void store(const Unit& unit, uint32_t staging, int lane) const {
    if (start_store(unit, staging, lane)) {
      bulk_store_wait();
      asm volatile("red.release.gpu.global.add.s32 [%0], 1;" ::"l"(stored + unit.expert)
                   : "memory");
    }
    __syncwarp();
  }

  __device__ __forceinline__ void idle(const GemmOperands& op, int lane) const {
    const int* order = reinterpret_cast<const int*>(op.plan + op.experts + 1);
    for (int turn = 0; turn < op.experts; turn++) {
      const int expert = load_written_int(order + turn);
      const int4 raw = load_written_int4(op.plan + expert);
      const GroupPlan group = {raw.x, raw.y, raw.z, raw.w};
      if (!wait_for(expert, group.tiles * n_tiles, lane)) {
        return;
      }
      for (;;) {
        int local = lane == 0 ? atomicAdd(taken + expert, 1) : 0;
        local = __shfl_sync(0xffffffffu, local, 0);
        if (local >= group.tiles * group.tile_rows) {
          break;
        }
        quantize_row(group, local, lane);
      }
    }
  }

 private:
  // Until the expert's tiles are in memory; false if the block ends before.
  __device__ __forceinline__ bool wait_for(int expert, int tiles, int lane) const {
    bool go_on = true;
    if (lane == 0) {
      for (;;) {
        const bool last_look = finished() != 0;
        int now;
        asm volatile("ld.acquire.gpu.global.s32 %0, [%1];" : "=r"(now) : "l"(stored + expert) : "memory");
        if (now >= tiles) {
          break;
        }
        if (last_look) {
          go_on = false;
          break;
        }
        __nanosleep(2000);
      }
    }
    return __shfl_sync(0xffffffffu, go_on, 0);
  }

  // Other blocks have just written them: not through L1.
  __device__ __forceinline__ uint4 load(const __nv_bfloat16* tile, const GroupPlan& group,
                                        int in_tile, int chunk, bool valid) const {
    uint4 v = make_uint4(0, 0, 0, 0);
    if (valid && chunk / kChunksPerRow < n_tiles) {
      asm volatile("ld.global.cg.v4.u32 {%0, %1, %2, %3}, [%4];"
                   : "=r"(v.x), "=r"(v.y), "=r"(v.z), "=r"(v.w)
                   : "l"(token_chunk(tile, group.tile_rows, in_tile, chunk))
                   : "memory");
    }
    return v;
  }

  // Calls each(chunk, eight columns) for a lane's chunks of a row of `chunks`, all lanes alike.
  template <class Each>
  __device__ __forceinline__ void for_chunks(const __nv_bfloat16* tile, const GroupPlan& group,
                                             int in_tile, bool valid, int lane,
                                             const Each& each) const {
    const int chunks = to.k_tiles * kLanesOfBlock;
#pragma unroll 1
    for (int first = 0; first < chunks; first += kAtOnce * kWarpSize) {
      uint4 v[kAtOnce];
#pragma unroll
      for (int i = 0; i < kAtOnce; i++) {
        v[i] = load(tile, group, in_tile, first + i * kWarpSize + lane, valid);
      }
#pragma unroll
      for (int i = 0; i < kAtOnce; i++) {
        if (first + i * kWarpSize < chunks) {
          each(first + i * kWarpSize + lane, *reinterpret_cast<const Bf16x8*>(&v[i]));
        }
      }
    }
  }

  __device__ __forceinline__ void quantize_row(const GroupPlan& group, int local, int lane) const {
    const int in_tile = local % group.tile_rows;
    const int row = group.first_row + local;
    const size_t tile_row = row - in_tile;
    const __nv_bfloat16* tile = hidden + tile_row * n_tiles * kTileK;
    const bool valid = local < group.rows;
    const int chunks = to.k_tiles * kLanesOfBlock;
    float scale = 1.0f;
    if (to.recipe == kStatic) {
      scale = __frcp_rn(to.static_scale);
    } else {
      float largest = 0.0f;
      for_chunks(tile, group, in_tile, valid, lane,
                 [&](int, const Bf16x8& v) { largest = fmaxf(largest, largest_of(v)); });
#pragma unroll
      for (int offset = kWarpSize / 2; offset > 0; offset /= 2) {
        largest = fmaxf(largest, __shfl_xor_sync(0xffffffffu, largest, offset));
      }
      scale = scale_of(largest, kPerRow);
    }
    if (lane == 0) {
      to.scales[row] = to.recipe == kStatic ? to.static_scale : __frcp_rn(scale);
    }
    unsigned over = 0;
    for_chunks(tile, group, in_tile, valid, lane, [&](int chunk, const Bf16x8& v) {
      if (to.recipe == kStatic) {
        float values[kChunk];
        unpack(v, values);
#pragma unroll
        for (int c = 0; c < kChunk; c++) {
          over += is_cut_off(values[c], scale);
        }
      }
      const size_t at = tile_row * to.k_tiles +
                        static_cast<size_t>(chunk / kLanesOfBlock) * group.tile_rows;
      const uint2 words = code_words(v, chunk, scale);
      if (chunk < chunks) {
        store_words(to.codes + at * kRowBytes, in_tile, chunk % kLanesOfBlock, words);
      }
    });
    if (to.recipe == kStatic) {
      count_saturated(to.saturated, over);
    }
  }
};
