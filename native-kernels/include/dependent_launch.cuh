// Programmatic dependent launch: no-ops without the launch attribute and before sm_90.
#pragma once

// Everything that earlier kernels of the stream wrote is visible after this.
__device__ __forceinline__ void wait_for_predecessor() {
#if __CUDA_ARCH__ >= 900
  asm volatile("griddepcontrol.wait;" ::: "memory");
#endif
}

// Lets the next kernel's blocks start where this one's have left room. Called after the wait, so
// that whatever ran before the predecessor is complete for a kernel that has not waited yet.
__device__ __forceinline__ void release_successor() {
#if __CUDA_ARCH__ >= 900
  asm volatile("griddepcontrol.launch_dependents;" ::: "memory");
#endif
}
