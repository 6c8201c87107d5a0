package dev.gregale.config;

import static org.assertj.core.api.Assertions.assertThat;

import dev.gregale.config.EngineProperties.BackendChoice;
import dev.gregale.config.EngineProperties.KvCacheDType;
import dev.gregale.config.ModelAssembly.LoadedModel;
import dev.gregale.engine.SchedulingPolicy;
import dev.gregale.model.LoadFormat;
import dev.gregale.quantization.Quantization;
import dev.gregale.tensor.InputScaling.When;
import io.micrometer.core.instrument.MeterRegistry;
import io.micrometer.core.instrument.simple.SimpleMeterRegistry;
import java.time.Duration;
import java.util.List;
import org.junit.jupiter.api.Test;

/** Memory by class, of a quantised model with an FP8 cache. */
class ModelMetricsTest {
  private static final long PROJECTIONS = 6L * (192 * (192 + 2 * 64) + 192 * 192);
  private static final long EXPERTS = 6L * 8 * 3 * 192 * 192;

  private static ModelAssembly prepare(Quantization quantization, KvCacheDType cache) {
    return ModelAssembly.prepare(
        new ModelProperties(null, null, LoadFormat.AUTO, quantization, When.IF_FASTER),
        new EngineProperties(
            BackendChoice.CPU,
            1,
            false,
            0.9,
            1,
            1,
            1,
            List.of(),
            null,
            4,
            64,
            128,
            16,
            10,
            cache,
            true,
            SchedulingPolicy.FCFS,
            10,
            10,
            1000,
            Duration.ZERO));
  }

  private static double value(MeterRegistry registry, String name, String kind) {
    return registry.get(name).tag("class", kind).gauge().value();
  }

  @Test
  void memoryAndSaturationByClass() {
    MeterRegistry registry = new SimpleMeterRegistry();
    try (ModelAssembly assembly = prepare(Quantization.FP8_BLOCK, KvCacheDType.FP8)) {
      new ModelMetrics(assembly).bindTo(registry);
      assertThat(value(registry, "gregale.weights", "experts")).isZero();
      LoadedModel loaded = assembly.load();
      assertThat(loaded.weights().layers()).hasSize(6);
      // A byte for each weight, and 3% more for scales.
      assertThat(value(registry, "gregale.weights", "experts"))
          .isBetween(1.0 * EXPERTS, 1.05 * EXPERTS);
      assertThat(value(registry, "gregale.weights", "attention"))
          .isBetween(1.0 * PROJECTIONS, 1.05 * PROJECTIONS);
      assertThat(value(registry, "gregale.weights", "embedding")).isEqualTo(2 * 4096 * 192);
      assertThat(value(registry, "gregale.weights.saturated", "experts")).isPositive();
      assertThat(value(registry, "gregale.weights.saturated", "lm_head")).isZero();
      assertThat(registry.get("gregale.inputs.saturated").tag("class", "experts").functionCounter())
          .isNotNull();
      // 10 blocks of 16 tokens, 6 layers, 2 heads of 32 codes and a scale, keys and values.
      assertThat(registry.get("gregale.kv.cache").gauge().value())
          .isEqualTo(10.0 * 16 * 6 * 2 * (32 + 4) * 2);
    }
  }

  @Test
  void precisionIsTold() {
    try (ModelAssembly assembly = prepare(Quantization.NONE, KvCacheDType.AUTO)) {
      assertThat(assembly.precision()).isEqualTo("weights not quantised, KV cache F32");
    }
    try (ModelAssembly assembly = prepare(Quantization.MXFP8, KvCacheDType.BF16)) {
      assertThat(assembly.precision())
          .isEqualTo(
              "weights MXFP8BlockScaling[rounding=UP], inputs quantised IF_FASTER, KV cache BF16");
    }
  }
}
