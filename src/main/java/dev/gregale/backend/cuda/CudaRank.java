package dev.gregale.backend.cuda;

/** What ranks need of each other's GPU, to launch what they do together. */
record CudaRank(
    CudaContext context, CudaMemory memory, KernelModules modules, KernelLauncher launcher) {}
