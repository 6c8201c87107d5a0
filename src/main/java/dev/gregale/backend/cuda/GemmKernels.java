package dev.gregale.backend.cuda;

import java.util.EnumMap;
import java.util.Map;
import java.util.Objects;

/** A grouped GEMM of every kind, and its launch. */
final class GemmKernels {
  /** Shared memory of the grouped GEMM. */
  private static final int SHARED_BYTES = 229_504;

  private static final int THREADS = 384;
  private final int multiprocessors;
  private final Map<GemmKind, KernelFunction> kernels = new EnumMap<>(GemmKind.class);

  /**
   * @param source the .cu file of the one for bf16
   * @param bf16 its name
   * @param coded the others', with %s for the kind
   */
  GemmKernels(
      KernelModules modules, int multiprocessors, String source, String bf16, String coded) {
    this.multiprocessors = multiprocessors / 2 * 2; // clusters of two
    for (GemmKind kind : GemmKind.values()) {
      String file = kind.hasCodes() ? WeightFormat.FP8.source(source) : source;
      String name = kind.hasCodes() ? coded.formatted(kind.kernel()) : bf16;
      kernels.put(kind, modules.function(file, name, SHARED_BYTES));
    }
  }

  /** Blocks that run at a time. */
  int blocks() {
    return multiprocessors;
  }

  /** The tokens of a product: with the scales of their codes, which bf16 does not have. */
  record Tokens(long tiles, long scales) {}

  /** Adds the operands, in the order that all kernels have them. */
  static void addOperands(
      KernelLauncher launcher, GemmKind kind, CudaTensor weight, Tokens tokens) {
    launcher.addWeight(weight).add(tokens.tiles());
    if (kind.hasCodes()) {
      launcher.add(tokens.scales());
    }
  }

  /** Adds the tiles along K. */
  static void addTiles(KernelLauncher launcher, GemmKind kind, CudaTensor weight, int k) {
    launcher.add(weight.format().kTiles(k));
    if (kind.hasCodes()) {
      launcher.add(kind.tokenTiles(k));
    }
  }

  void launch(KernelLauncher launcher, GemmKind kind) {
    launcher.launch(
        Objects.requireNonNull(kernels.get(kind)), multiprocessors, 1, 1, THREADS, SHARED_BYTES);
  }
}
