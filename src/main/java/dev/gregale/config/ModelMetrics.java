package dev.gregale.config;

import dev.gregale.backend.Backend;
import dev.gregale.backend.DeviceMemory;
import dev.gregale.backend.WeightRole;
import dev.gregale.model.KvCache;
import dev.gregale.model.WeightClass;
import dev.gregale.model.WeightStatistics;
import io.micrometer.core.instrument.FunctionCounter;
import io.micrometer.core.instrument.Gauge;
import io.micrometer.core.instrument.MeterRegistry;
import io.micrometer.core.instrument.binder.MeterBinder;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Objects;
import java.util.function.ToDoubleFunction;

/** What the model takes of memory, and how full the device is where the backend has one. */
final class ModelMetrics implements MeterBinder {
  private static final String BYTES = "bytes";

  private final ModelAssembly assembly;

  ModelMetrics(ModelAssembly assembly) {
    this.assembly = assembly;
  }

  @Override
  public void bindTo(MeterRegistry registry) {
    WeightStatistics weights = assembly.loader().statistics();
    for (WeightClass kind : WeightClass.values()) {
      String tag = tag(kind);
      Gauge.builder("gregale.weights", weights, w -> w.bytes(kind))
          .description("Memory that the weights of a class take, as far as they are loaded")
          .baseUnit(BYTES)
          .tag("class", tag)
          .register(registry);
      Gauge.builder("gregale.weights.saturated", weights, w -> w.saturated(kind))
          .description("FP8 codes of the largest magnitude: many mean that values were cut off")
          .baseUnit("codes")
          .tag("class", tag)
          .register(registry);
    }
    Gauge.builder("gregale.kv.cache", assembly, ModelMetrics::cacheBytes)
        .description("Memory that the KV cache takes, scales included")
        .baseUnit(BYTES)
        .register(registry);
    bindInputs(registry, assembly);
    bindDevice(registry, assembly);
  }

  private static void bindInputs(MeterRegistry registry, ModelAssembly assembly) {
    Map<WeightClass, List<WeightRole>> roles =
        Map.of(
            WeightClass.ATTENTION,
            List.of(WeightRole.LINEAR),
            WeightClass.EXPERTS,
            List.of(WeightRole.EXPERTS_GATE_UP, WeightRole.EXPERTS_DOWN));
    roles.forEach(
        (kind, its) -> {
          if (its.stream().allMatch(role -> assembly.backend().saturatedInputs(role) >= 0)) {
            FunctionCounter.builder(
                    "gregale.inputs.saturated", assembly, all -> saturatedInputs(all, its))
                .description("Inputs that a checkpoint's fixed scale has cut off")
                .baseUnit("values")
                .tag("class", tag(kind))
                .register(registry);
          }
        });
  }

  private static long saturatedInputs(ModelAssembly assembly, List<WeightRole> roles) {
    return assembly.backends().stream()
        .mapToLong(backend -> roles.stream().mapToLong(backend::saturatedInputs).sum())
        .sum();
  }

  private static String tag(WeightClass kind) {
    return kind.name().toLowerCase(Locale.ROOT);
  }

  /** Of all replicas. */
  private static double cacheBytes(ModelAssembly assembly) {
    return (double) assembly.backends().size()
        * assembly.limits().numBlocks()
        * KvCache.bytesPerBlock(
            assembly.backend(),
            assembly.config(),
            assembly.limits().blockSize(),
            assembly.kvCacheDType());
  }

  private static void bindDevice(MeterRegistry registry, ModelAssembly assembly) {
    if (assembly.backend().deviceMemory() != null) {
      Gauge.builder("gregale.device.memory.total", assembly, a -> sum(a, DeviceMemory::totalBytes))
          .description("Memory of all devices in use")
          .baseUnit(BYTES)
          .register(registry);
      Gauge.builder(
              "gregale.device.memory.allocated",
              assembly,
              a -> sum(a, DeviceMemory::allocatedBytes))
          .description("Memory of the devices that weights, KV caches and scratch take")
          .baseUnit(BYTES)
          .register(registry);
    }
  }

  private static double sum(ModelAssembly assembly, ToDoubleFunction<DeviceMemory> figure) {
    return assembly.backends().stream()
        .map(Backend::deviceMemory)
        .filter(Objects::nonNull)
        .mapToDouble(figure)
        .sum();
  }
}
