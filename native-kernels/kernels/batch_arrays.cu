// Many small arrays from the host at once: a step's token ids, positions, lengths and sampling
// parameters. A copy of each by the driver would cost a launch of its own.
//
//   batch_arrays_write   block b carries out writes[b]; sources are page-locked host memory, which
//                        the device reads directly
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
