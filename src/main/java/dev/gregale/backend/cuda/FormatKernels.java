package dev.gregale.backend.cuda;

import java.util.EnumMap;
import java.util.Map;
import java.util.Objects;

/** A kernel that there is for every format of weights: the same arguments, but for the scales. */
final class FormatKernels {
  private final Map<WeightFormat, KernelFunction> kernels = new EnumMap<>(WeightFormat.class);

  /**
   * @param source the .cu file of the one for bf16
   * @param name as exported, with %s for the format
   */
  FormatKernels(KernelModules modules, String source, String name, int sharedBytes, int carveOut) {
    for (WeightFormat format : WeightFormat.values()) {
      kernels.put(
          format,
          modules.function(
              format.source(source), name.formatted(format.kernel()), sharedBytes, carveOut));
    }
  }

  KernelFunction of(WeightFormat format) {
    return Objects.requireNonNull(kernels.get(format));
  }
}
