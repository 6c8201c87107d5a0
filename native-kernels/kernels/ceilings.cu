// What memory can give at best: the ceiling that the bench holds every decode step against.
//
//   read_stream_u32   reads `count` packs of 16 bytes once, front to back over the whole grid
//
// Launch: block 512, grid 4 blocks per multiprocessor. `sink` is written only if all bits that a
// thread has read cancel to a value that random data do not give, so that no load can be dropped.

#include <stddef.h>
#include <stdint.h>

namespace {
constexpr int kAhead = 8;  // loads in flight per thread: 128 bytes
constexpr uint32_t kNever = 0x9e3779b9u;
}  // namespace

extern "C" __global__ void __launch_bounds__(512)
    read_stream_u32(uint32_t* sink, const uint4* data, long long count) {
  const size_t threads = static_cast<size_t>(gridDim.x) * blockDim.x;
  const size_t end = static_cast<size_t>(count);
  uint32_t all = 0;
  for (size_t at = static_cast<size_t>(blockIdx.x) * blockDim.x + threadIdx.x; at < end;
       at += kAhead * threads) {
    uint4 packs[kAhead];
#pragma unroll
    for (int i = 0; i < kAhead; i++) {
      const size_t from = at + i * threads;
      packs[i] = from < end ? __ldcs(data + from) : make_uint4(0, 0, 0, 0);
    }
#pragma unroll
    for (int i = 0; i < kAhead; i++) {
      all ^= packs[i].x ^ packs[i].y ^ packs[i].z ^ packs[i].w;
    }
  }
  if (all == kNever) {
    *sink = all;
  }
}
