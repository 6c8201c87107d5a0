package dev.gregale.backend.cpu;

/** Ops over ids, which the reference and the vector kernels have in common. */
final class IdOps {

  private IdOps() {}

  /** See {@link dev.gregale.backend.Kernels#gatherTokens}. */
  static void gatherTokens(int[] tokenIds, int[] sources, int[] drawn, int vocabSize, int rows) {
    for (int row = 0; row < rows; row++) {
      int source = sources[row];
      if (source >= 0) {
        int token = drawn[source];
        tokenIds[row] = token >= 0 && token < vocabSize ? token : 0;
      }
    }
  }

  /** See {@link dev.gregale.backend.Kernels#dispatch}. */
  static void dispatch(
      int[] localIds, int[] expertIds, int firstExpert, int numExperts, int choices) {
    for (int i = 0; i < choices; i++) {
      int local = expertIds[i] - firstExpert;
      localIds[i] = local >= 0 && local < numExperts ? local : -1;
    }
  }
}
