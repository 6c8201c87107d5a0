package dev.gregale.config;

import dev.gregale.backend.Backend;
import dev.gregale.backend.DeviceMemory;
import dev.gregale.backend.SaturatedInputs;
import dev.gregale.model.KvCache;
import dev.gregale.model.WeightClass;
import dev.gregale.model.WeightStatistics;
import io.micrometer.core.instrument.FunctionCounter;
import io.micrometer.core.instrument.Gauge;
import io.micrometer.core.instrument.MeterRegistry;
import io.micrometer.core.instrument.binder.MeterBinder;
import java.util.Locale;
import java.util.Objects;
import java.util.function.Function;
import java.util.function.ToDoubleFunction;
import org.jspecify.annotations.Nullable;

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
      String tag = kind.name().toLowerCase(Locale.ROOT);
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
    bindDevice(registry, assembly);
    bindInputs(registry, assembly);
  }

  private static void bindInputs(MeterRegistry registry, ModelAssembly assembly) {
    if (assembly.backend().saturatedInputs() != null) {
      bindInputs(registry, assembly, WeightClass.ATTENTION, SaturatedInputs::attention);
      bindInputs(registry, assembly, WeightClass.EXPERTS, SaturatedInputs::experts);
    }
  }

  private static void bindInputs(
      MeterRegistry registry,
      ModelAssembly assembly,
      WeightClass kind,
      ToDoubleFunction<SaturatedInputs> count) {
    FunctionCounter.builder(
            "gregale.inputs.saturated", assembly, all -> sum(all, Backend::saturatedInputs, count))
        .description("Inputs of products that a fixed FP8 scale cut off")
        .baseUnit("values")
        .tag("class", kind.name().toLowerCase(Locale.ROOT))
        .register(registry);
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
      Gauge.builder(
              "gregale.device.memory.total",
              assembly,
              all -> sum(all, Backend::deviceMemory, DeviceMemory::totalBytes))
          .description("Memory of all devices in use")
          .baseUnit(BYTES)
          .register(registry);
      Gauge.builder(
              "gregale.device.memory.allocated",
              assembly,
              all -> sum(all, Backend::deviceMemory, DeviceMemory::allocatedBytes))
          .description("Memory of the devices that weights, KV caches and scratch take")
          .baseUnit(BYTES)
          .register(registry);
    }
  }

  /** Over all replicas. */
  private static <T> double sum(
      ModelAssembly assembly, Function<Backend, @Nullable T> figures, ToDoubleFunction<T> figure) {
    return assembly.backends().stream()
        .map(figures)
        .filter(Objects::nonNull)
        .mapToDouble(figure)
        .sum();
  }
}
