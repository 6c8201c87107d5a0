// Rows by index. Any width.
//
//   embed_bf16        Kernels.embed: out[t] = table[ids[t]], widened to the fp32 residual stream
//   gather_rows_bf16  Kernels.gatherRows: out[r] = x[ids[r]]
//
// One block per row.

#include "common.cuh"

extern "C" __global__ void embed_bf16(float* out,                  // [T, D]
                                      const __nv_bfloat16* table,  // [V, D]
                                      const int* ids,              // [T]
                                      int width) {
  const __nv_bfloat16* row = table + static_cast<size_t>(ids[blockIdx.x]) * width;
  for (int i = threadIdx.x; i < width; i += blockDim.x) {
    out[static_cast<size_t>(blockIdx.x) * width + i] = __bfloat162float(row[i]);
  }
}

extern "C" __global__ void gather_rows_bf16(__nv_bfloat16* out,      // [R, D]
                                            const __nv_bfloat16* x,  // [T, D]
                                            const int* ids,          // [R]
                                            int width) {
  const __nv_bfloat16* row = x + static_cast<size_t>(ids[blockIdx.x]) * width;
  for (int i = threadIdx.x; i < width; i += blockDim.x) {
    out[static_cast<size_t>(blockIdx.x) * width + i] = row[i];
  }
}
