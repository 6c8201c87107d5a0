// Many small arrays from the host at once: a step's token ids, positions, lengths and sampling
// parameters. A copy of each by the driver would cost a launch of its own.
//
//   batch_arrays_write   block b carries out writes[b]; sources are page-locked host memory, which
//                        the device reads directly
//   gather_tokens_i32    Kernels.gatherTokens: ids[t] = drawn[sources[t]] where sources[t] >= 0: the
//                        token that the step before this has drawn, without a way round by the host
//
// Lengths in words of 4 bytes. Destinations of one launch must not overlap.

#include <stdint.h>

namespace {

// DeferredWrites writes this layout.
struct Write {
  uint32_t* to;
  const uint32_t* from;
  long long words;
};
static_assert(sizeof(Write) == 24, "Java writes three 64-bit fields");

}  // namespace

extern "C" __global__ void batch_arrays_write(const Write* writes) {
  const Write write = writes[blockIdx.x];
  for (long long i = threadIdx.x; i < write.words; i += blockDim.x) {
    write.to[i] = write.from[i];
  }
}

extern "C" __global__ void gather_tokens_i32(int* ids,            // [T]
                                             const int* sources,  // [T]
                                             const int* drawn,    // [R]
                                             int vocab_size, int rows) {
  const int t = blockIdx.x * blockDim.x + threadIdx.x;
  if (t >= rows) {
    return;
  }
  const int source = sources[t];
  if (source >= 0) {
    const int token = drawn[source];
    // What NaN logits give must not become an address.
    ids[t] = token >= 0 && token < vocab_size ? token : 0;
  }
}
