package dev.gregale.backend.cuda;

/**
 * What the products of Hopper's matrix unit are made with.
 *
 * @param mayQuantize whether inputs may be quantised where that is faster
 */
record WgmmaTools(
    KernelLauncher launcher,
    KernelModules modules,
    Workspace workspace,
    InputQuantizer quantizer,
    InputRounder rounder,
    int multiprocessors,
    boolean mayQuantize) {

  /**
   * The instances of a grouped product.
   *
   * @param source of its kernels
   * @param bf16 the kernel for bf16
   * @param codes the kernels for codes, with a place for the {@link GemmKind}
   */
  GemmKernels gemm(String source, String bf16, String codes) {
    return new GemmKernels(modules, multiprocessors, source, bf16, codes);
  }
}
