// The sum of all ranks' parts, added to each rank's residual (Collective.addUp):
//
//   all_reduce_push_f32   one message: each rank writes its part into every other's inbox, raises a
//                         flag there, waits for the others' and adds. For short messages, whose cost
//                         is the way there.
//   all_reduce_pull_f32   two messages: each rank adds up its share of the elements straight out of
//                         the others' memory and writes the sums back to all. For long messages:
//                         2 (N - 1) / N of a part travel each way, against N - 1 parts.
//   add_and_clear_f32     residual += part, part = 0: behind somebody else's all-reduce
//
// In all three residual[i] += part_0[i] + part_1[i] + ... in the order of the ranks, in fp32: the
// same bits on every rank and in every run. Parts are zero afterwards, for products that add to
// them. N ranks, at most 8, each with a pointer to every other's memory (peer access, or the same
// device); nothing is reset between launches, so a graph can replay them.
//
// A flag is the sequence number of the launch that raised it, counted by each block of each rank for
// itself: block b waits for the others' blocks b alone. An inbox has two halves, used in turn: a
// rank writes a half again only when it has seen every other's flag of the launch between, and each
// of those was raised after the launch before had ended there. So all ranks must launch the same
// kernels over the same grids in the same order, each on one stream, and nothing of a launch may
// overlap the next: the two may be launched as programmatic dependents, but release none early.
//
// Every wait ends: past its deadline a block reports the rank that it waited for, in memory that the
// host reads, and goes on with what it has; later launches of that rank then hardly wait at all.
// Few blocks, so that a rank which waits leaves the others room even on the same device.
//
// Launch: block 512. all_reduce_push_f32: grid 1 to 32, chunk4 = ceil(count4 / grid) at most
// kAreaFloat4s. all_reduce_pull_f32: grid 1 to 32. Lengths in float4; D must be a multiple of 4.

#include "decode_tokens.cuh"

namespace {

constexpr int kMaxRanks = 8;
constexpr int kMaxBlocks = 32;
constexpr int kThreads = 512;
constexpr int kAreaFloat4s = 2048;  // of an inbox for one block of one sender: 32 KB
constexpr int kPollsPerCheck = 64;  // reading the clock costs more than a poll

// What the ranks tell each other; one for each rank, zero at first.
struct State {
  uint32_t pushed[kMaxRanks][kMaxBlocks];
  uint32_t begun[kMaxRanks][kMaxBlocks];
  uint32_t summed[kMaxRanks][kMaxBlocks];
  uint32_t sequence[kMaxBlocks];  // of this rank's blocks
  uint32_t failed;                // this rank has waited in vain
};
static_assert(sizeof(State) == 4 * (3 * kMaxRanks * kMaxBlocks + kMaxBlocks + 1),
              "CudaCollective allocates it");

// CudaCollective writes this layout: all ranks' memory as one of them sees it.
struct Peers {
  float4* inbox[kMaxRanks];  // [2][N][kMaxBlocks][kAreaFloat4s]
  float4* part[kMaxRanks];   // [T, D]
  State* state[kMaxRanks];
  volatile int* missing;     // page-locked: 1 + the rank that did not come
};
static_assert(sizeof(Peers) == 8 * (3 * kMaxRanks + 1), "Java writes 64-bit fields");

__device__ __forceinline__ uint64_t nanoseconds() {
  uint64_t now;
  asm volatile("mov.u64 %0, %%globaltimer;" : "=l"(now));
  return now;
}

__device__ __forceinline__ void raise(uint32_t* flag, uint32_t sequence) {
  asm volatile("st.release.sys.global.u32 [%0], %1;" ::"l"(flag), "r"(sequence) : "memory");
}

__device__ __forceinline__ uint32_t look(const uint32_t* flag) {
  uint32_t value;
  asm volatile("ld.acquire.sys.global.u32 %0, [%1];" : "=r"(value) : "l"(flag) : "memory");
  return value;
}

__device__ void await(const uint32_t* flag, uint32_t sequence, State* own, const Peers* peers,
                      int peer, long long timeout) {
  const uint64_t start = nanoseconds();
  int polls = 0;
  while (static_cast<int32_t>(look(flag) - sequence) < 0) {
    if (++polls % kPollsPerCheck == 0) {
      const bool gave_up = *static_cast<volatile uint32_t*>(&own->failed) != 0;
      if (gave_up || nanoseconds() - start > static_cast<uint64_t>(timeout)) {
        own->failed = 1;
        if (!gave_up) {
          *peers->missing = peer + 1;
          __threadfence_system();
        }
        return;
      }
    }
  }
}

// Thread p tells rank p that this block has come so far, and waits until p's has. What the block
// wrote before is seen there after.
__device__ void meet(uint32_t (State::*flags)[kMaxRanks][kMaxBlocks], const Peers* peers, int rank,
                     int ranks, uint32_t sequence, long long timeout) {
  __syncthreads();
  const int peer = threadIdx.x;
  if (peer < ranks && peer != rank) {
    State* own = peers->state[rank];
    __threadfence_system();
    raise(&(peers->state[peer]->*flags)[rank][blockIdx.x], sequence);
    await(&(own->*flags)[peer][blockIdx.x], sequence, own, peers, peer, timeout);
  }
  __syncthreads();
}

__device__ __forceinline__ float4 add(float4 a, float4 b) {
  return make_float4(a.x + b.x, a.y + b.y, a.z + b.z, a.w + b.w);
}

__device__ __forceinline__ void add_and_clear(float4* residual, float4* part, float4 sum) {
  *residual = add(*residual, sum);
  *part = make_float4(0.0f, 0.0f, 0.0f, 0.0f);
}

}  // namespace

extern "C" __global__ void __launch_bounds__(kThreads)
    all_reduce_push_f32(float4* residual,    // [T, D]
                        const Peers* peers, int rank, int ranks, int count4, int chunk4,
                        long long timeout) {
  wait_for_predecessor();
  State* own = peers->state[rank];
  const uint32_t sequence = own->sequence[blockIdx.x] + 1;
  const int begin = blockIdx.x * chunk4;
  const int length = min(chunk4, count4 - begin);
  const int half = sequence % 2 * ranks;
  float4* part = peers->part[rank] + begin;
  for (int i = threadIdx.x; i < length; i += kThreads) {
    const float4 value = part[i];
    for (int p = 0; p < ranks; p++) {
      if (p != rank) {
        const size_t area = static_cast<size_t>(half + rank) * kMaxBlocks + blockIdx.x;
        peers->inbox[p][area * kAreaFloat4s + i] = value;
      }
    }
  }
  meet(&State::pushed, peers, rank, ranks, sequence, timeout);
  for (int i = threadIdx.x; i < length; i += kThreads) {
    float4 sum;
    for (int p = 0; p < ranks; p++) {
      const size_t area = static_cast<size_t>(half + p) * kMaxBlocks + blockIdx.x;
      const float4 value =
          p == rank ? part[i] : __ldcv(&peers->inbox[rank][area * kAreaFloat4s + i]);
      sum = p == 0 ? value : add(sum, value);
    }
    add_and_clear(residual + begin + i, part + i, sum);
  }
  if (threadIdx.x == 0) {
    own->sequence[blockIdx.x] = sequence;
  }
}

extern "C" __global__ void __launch_bounds__(kThreads)
    all_reduce_pull_f32(float4* residual,    // [T, D]
                        const Peers* peers, int rank, int ranks, int count4, long long timeout) {
  wait_for_predecessor();
  State* own = peers->state[rank];
  const uint32_t sequence = own->sequence[blockIdx.x] + 1;
  const int share = (count4 + ranks - 1) / ranks;
  const int first = blockIdx.x * kThreads + threadIdx.x;
  const int step = gridDim.x * kThreads;
  float4* part = peers->part[rank];
  meet(&State::begun, peers, rank, ranks, sequence, timeout);
  const int end = min((rank + 1) * share, count4);
  for (int i = rank * share + first; i < end; i += step) {
    float4 sum = __ldcv(&peers->part[0][i]);
    for (int p = 1; p < ranks; p++) {
      sum = add(sum, __ldcv(&peers->part[p][i]));
    }
    for (int p = 0; p < ranks; p++) {
      peers->part[p][i] = sum;
    }
  }
  meet(&State::summed, peers, rank, ranks, sequence, timeout);
  for (int r = 0; r < ranks; r++) {
    const int last = min((r + 1) * share, count4);
    for (int i = r * share + first; i < last; i += step) {
      add_and_clear(residual + i, part + i, __ldcv(part + i));
    }
  }
  if (threadIdx.x == 0) {
    own->sequence[blockIdx.x] = sequence;
  }
}

extern "C" __global__ void __launch_bounds__(kThreads)
    add_and_clear_f32(float4* residual,  // [T, D]
                      float4* part,      // [T, D]
                      int count4) {
  const int i = blockIdx.x * kThreads + threadIdx.x;
  if (i < count4) {
    add_and_clear(residual + i, part + i, part[i]);
  }
}
