package dev.gregale.web;

import static io.prometheus.metrics.model.registry.MetricType.COUNTER;
import static io.prometheus.metrics.model.registry.MetricType.GAUGE;
import static io.prometheus.metrics.model.registry.MetricType.HISTOGRAM;
import static io.prometheus.metrics.model.registry.MetricType.INFO;

import dev.gregale.engine.LlmEngine;
import io.prometheus.metrics.model.registry.MetricType;
import io.prometheus.metrics.model.registry.MultiCollector;
import io.prometheus.metrics.model.registry.PrometheusRegistry;
import io.prometheus.metrics.model.snapshots.CounterSnapshot;
import io.prometheus.metrics.model.snapshots.CounterSnapshot.CounterDataPointSnapshot;
import io.prometheus.metrics.model.snapshots.DataPointSnapshot;
import io.prometheus.metrics.model.snapshots.GaugeSnapshot;
import io.prometheus.metrics.model.snapshots.GaugeSnapshot.GaugeDataPointSnapshot;
import io.prometheus.metrics.model.snapshots.HistogramSnapshot;
import io.prometheus.metrics.model.snapshots.HistogramSnapshot.HistogramDataPointSnapshot;
import io.prometheus.metrics.model.snapshots.InfoSnapshot;
import io.prometheus.metrics.model.snapshots.InfoSnapshot.InfoDataPointSnapshot;
import io.prometheus.metrics.model.snapshots.Labels;
import io.prometheus.metrics.model.snapshots.MetricFamilyDescriptor;
import io.prometheus.metrics.model.snapshots.MetricMetadata;
import io.prometheus.metrics.model.snapshots.MetricSnapshot;
import io.prometheus.metrics.model.snapshots.MetricSnapshots;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.function.Function;
import java.util.stream.Collectors;
import org.jspecify.annotations.Nullable;
import org.springframework.beans.factory.ObjectProvider;
import org.springframework.stereotype.Component;

/**
 * The engine's metrics once more under vLLM's names, for the dashboards, autoscalers and gateways
 * that know those. Made of the same numbers when they are fetched, so that nothing is counted
 * twice. "Request" in vLLM's sense is a sequence here: each of a request's n answers.
 */
@Component
final class VllmMetrics implements MultiCollector {
  private static final String PREFIX = "vllm:";

  /**
   * A metric of vLLM.
   *
   * @param type of both
   * @param name without prefix and without the suffix that its type brings
   * @param source ours, without that suffix
   */
  private record Alias(MetricType type, String name, String source) {}

  private static final List<Alias> ALIASES =
      List.of(
          new Alias(GAUGE, "num_requests_running", "gregale_requests_running"),
          new Alias(GAUGE, "num_requests_waiting", "gregale_requests_waiting"),
          new Alias(GAUGE, "kv_cache_usage_perc", "gregale_kv_usage"),
          new Alias(GAUGE, "gpu_cache_usage_perc", "gregale_kv_usage"), // until vLLM 0.10
          new Alias(COUNTER, "num_preemptions", "gregale_preemptions"),
          new Alias(COUNTER, "prefix_cache_queries", "gregale_prefix_queries"),
          new Alias(COUNTER, "prefix_cache_hits", "gregale_prefix_hits"),
          new Alias(COUNTER, "prompt_tokens", "gregale_tokens_prompt"),
          new Alias(COUNTER, "generation_tokens", "gregale_tokens_generation"),
          new Alias(COUNTER, "request_success", "gregale_requests_finished"),
          new Alias(HISTOGRAM, "time_to_first_token_seconds", "gregale_request_ttft_seconds"),
          new Alias(HISTOGRAM, "inter_token_latency_seconds", "gregale_request_itl_seconds"),
          new Alias(
              HISTOGRAM,
              "time_per_output_token_seconds",
              "gregale_request_itl_seconds"), // the old name
          new Alias(
              HISTOGRAM, "request_time_per_output_token_seconds", "gregale_request_tpot_seconds"),
          new Alias(HISTOGRAM, "e2e_request_latency_seconds", "gregale_request_e2e_seconds"),
          new Alias(HISTOGRAM, "request_queue_time_seconds", "gregale_request_queue_seconds"),
          new Alias(
              HISTOGRAM, "request_inference_time_seconds", "gregale_request_inference_seconds"),
          new Alias(HISTOGRAM, "request_prefill_time_seconds", "gregale_request_prefill_seconds"),
          new Alias(HISTOGRAM, "request_decode_time_seconds", "gregale_request_decode_seconds"),
          new Alias(HISTOGRAM, "request_prompt_tokens", "gregale_request_prompt_tokens"),
          new Alias(HISTOGRAM, "request_generation_tokens", "gregale_request_generation_tokens"),
          new Alias(HISTOGRAM, "request_params_n", "gregale_request_sequences"),
          new Alias(HISTOGRAM, "request_params_max_tokens", "gregale_request_max_tokens"));

  private static final Set<String> SOURCES =
      ALIASES.stream().map(Alias::source).collect(Collectors.toUnmodifiableSet());

  /** What cache_config_info tells as labels. */
  private static final Map<String, String> CACHE_CONFIG =
      Map.of("gregale_kv_block_size", "block_size", "gregale_kv_blocks", "num_gpu_blocks");

  private final @Nullable PrometheusRegistry registry;
  private final LlmEngine engine;

  VllmMetrics(ObjectProvider<PrometheusRegistry> registry, LlmEngine engine) {
    this.registry = registry.getIfAvailable();
    this.engine = engine;
    if (this.registry != null) {
      this.registry.register(this);
    }
  }

  /** Named, so that collecting our own metrics does not come back here. */
  @Override
  public List<MetricFamilyDescriptor> getMetricFamilyDescriptors() {
    List<MetricFamilyDescriptor> families = new ArrayList<>();
    for (Alias alias : ALIASES) {
      families.add(
          MetricFamilyDescriptor.of(alias.type(), new MetricMetadata(PREFIX + alias.name())));
    }
    families.add(MetricFamilyDescriptor.of(INFO, new MetricMetadata(PREFIX + "cache_config")));
    return families;
  }

  @Override
  public MetricSnapshots collect() {
    if (registry == null) {
      return MetricSnapshots.of();
    }
    Map<String, MetricSnapshot> found =
        registry.scrape(name -> name.startsWith("gregale_")).stream()
            .filter(
                m ->
                    SOURCES.contains(m.getMetadata().getPrometheusName())
                        || CACHE_CONFIG.containsKey(m.getMetadata().getPrometheusName()))
            .collect(Collectors.toMap(m -> m.getMetadata().getPrometheusName(), m -> m));
    List<MetricSnapshot> aliases = new ArrayList<>();
    for (Alias alias : ALIASES) {
      MetricSnapshot source = found.get(alias.source());
      if (source != null) {
        MetricMetadata name =
            new MetricMetadata(PREFIX + alias.name(), source.getMetadata().getHelp());
        aliases.add(renamed(source, name));
      }
    }
    aliases.add(cacheConfig(found));
    return new MetricSnapshots(aliases);
  }

  private MetricSnapshot renamed(MetricSnapshot source, MetricMetadata name) {
    return switch (source) {
      case GaugeSnapshot gauge ->
          new GaugeSnapshot(
              name,
              points(
                  gauge.getDataPoints(),
                  p -> new GaugeDataPointSnapshot(p.getValue(), labels(p), null)));
      case CounterSnapshot counter ->
          new CounterSnapshot(
              name,
              points(
                  counter.getDataPoints(),
                  p -> new CounterDataPointSnapshot(p.getValue(), labels(p), null, 0)));
      case HistogramSnapshot histogram ->
          new HistogramSnapshot(
              name,
              points(
                  histogram.getDataPoints(),
                  p ->
                      new HistogramDataPointSnapshot(
                          p.getClassicBuckets(), p.getSum(), labels(p), null, 0)));
      default -> throw new IllegalStateException(source.getMetadata().getName());
    };
  }

  private static <P, Q> List<Q> points(List<P> points, Function<P, Q> renamed) {
    return points.stream().map(renamed).toList();
  }

  /** vLLM's labels, and the reason of an end under vLLM's name. */
  private Labels labels(DataPointSnapshot point) {
    Labels labels = Labels.of("model_name", engine.info().modelName(), "engine", "0");
    String reason = point.getLabels().get("reason");
    return reason == null ? labels : labels.add("finished_reason", reason);
  }

  private MetricSnapshot cacheConfig(Map<String, MetricSnapshot> found) {
    Labels labels = Labels.of("engine", "0");
    for (Map.Entry<String, String> entry : CACHE_CONFIG.entrySet()) {
      if (found.get(entry.getKey()) instanceof GaugeSnapshot gauge) {
        long value = Math.round(gauge.getDataPoints().getFirst().getValue());
        labels = labels.add(entry.getValue(), Long.toString(value));
      }
    }
    return new InfoSnapshot(
        new MetricMetadata(PREFIX + "cache_config", "How the KV cache is laid out"),
        List.of(new InfoDataPointSnapshot(labels)));
  }
}
