package dev.gregale.server;

import static org.assertj.core.api.Assertions.assertThat;

import java.nio.file.Path;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import jdk.jfr.Recording;
import jdk.jfr.consumer.RecordedEvent;
import jdk.jfr.consumer.RecordingFile;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import tools.jackson.databind.JsonNode;

/** What operators are told, in names that their tools know. */
class MetricsTest extends RunningServer {
  private static final Pattern SAMPLE = Pattern.compile("([a-zA-Z0-9_:]+)(\\{.*})? ([^ ]+)");

  private Map<String, Object> completion(int maxTokens) {
    Map<String, Object> request = new HashMap<>();
    request.put("model", MODEL);
    request.put("prompt", "Once upon a time");
    request.put("max_tokens", maxTokens);
    request.put("ignore_eos", true);
    return request;
  }

  /** Name to the sum of its samples over all labels, but for buckets, where it is the largest. */
  private Map<String, Double> samples(String path) {
    Map<String, Double> samples = new HashMap<>();
    for (String line : get(path).body().split("\n")) {
      Matcher sample = SAMPLE.matcher(line);
      if (!line.startsWith("#") && sample.matches()) {
        String name = sample.group(1);
        double value = Double.parseDouble(sample.group(3));
        samples.merge(name, value, name.endsWith("_bucket") ? Math::max : Double::sum);
      }
    }
    return samples;
  }

  @Test
  void whatARequestDidIsCounted() {
    Map<String, Double> before = samples("/actuator/prometheus");
    accepted(completion(12), "/v1/completions");
    send(Map.of("model", "no"), "/v1/completions").join();
    Map<String, Double> after = samples("/actuator/prometheus");
    Map<String, Double> expected = new HashMap<>();
    for (String histogram :
        List.of(
            "ttft_seconds",
            "e2e_seconds",
            "queue_seconds",
            "prefill_seconds",
            "decode_seconds",
            "inference_seconds",
            "tpot_seconds",
            "prompt_tokens",
            "generation_tokens",
            "sequences",
            "max_tokens")) {
      expected.put("gregale_request_" + histogram + "_count", 1.0);
      expected.put("gregale_request_" + histogram + "_bucket", 1.0);
    }
    expected.put("gregale_request_itl_seconds_count", 11.0);
    expected.put("gregale_request_generation_tokens_sum", 12.0);
    expected.put("gregale_tokens_generation_total", 12.0);
    expected.put("gregale_tokens_prompt_total", 5.0);
    expected.put("gregale_request_prompt_tokens_sum", 5.0);
    expected.put("gregale_engine_step_tokens_sum", 16.0);
    expected.put("gregale_requests_finished_total", 1.0);
    expected.put("gregale_api_errors_total", 1.0);
    expected.put("gen_ai_server_request_duration_seconds_count", 1.0);
    expected.put("gen_ai_server_time_to_first_token_seconds_count", 1.0);
    expected.forEach(
        (name, increase) ->
            assertThat(after.getOrDefault(name, 0.0) - before.getOrDefault(name, 0.0))
                .as(name)
                .isEqualTo(increase));
    assertThat(after)
        .containsKeys(
            "gregale_requests_running",
            "gregale_requests_waiting",
            "gregale_kv_usage",
            "gregale_preemptions_total",
            "gregale_requests_rejected_total",
            "gregale_requests_cancelled_total",
            "gregale_engine_step_seconds_count",
            "gregale_weights_bytes",
            "gregale_weights_saturated_codes",
            "gregale_inputs_saturated_values_total",
            "gregale_kv_cache_bytes",
            "http_server_requests_seconds_count");
  }

  /** The names in vLLM's v1/metrics/loggers.py, with its labels, and with our numbers. */
  @Test
  void theSameIsToldUnderVllmsNames() {
    accepted(completion(3), "/v1/completions");
    String text = get("/metrics").body();
    Map<String, Double> samples = samples("/metrics");
    Map<String, String> sameAs = new HashMap<>();
    sameAs.put("vllm:num_requests_running", "gregale_requests_running");
    sameAs.put("vllm:num_requests_waiting", "gregale_requests_waiting");
    sameAs.put("vllm:kv_cache_usage_perc", "gregale_kv_usage");
    sameAs.put("vllm:num_preemptions_total", "gregale_preemptions_total");
    sameAs.put("vllm:prefix_cache_queries_total", "gregale_prefix_queries_total");
    sameAs.put("vllm:prefix_cache_hits_total", "gregale_prefix_hits_total");
    sameAs.put("vllm:prompt_tokens_total", "gregale_tokens_prompt_total");
    sameAs.put("vllm:generation_tokens_total", "gregale_tokens_generation_total");
    sameAs.put("vllm:request_success_total", "gregale_requests_finished_total");
    for (String part : List.of("count", "sum", "bucket")) {
      sameAs.put(
          "vllm:time_to_first_token_seconds_" + part, "gregale_request_ttft_seconds_" + part);
      sameAs.put("vllm:inter_token_latency_seconds_" + part, "gregale_request_itl_seconds_" + part);
      sameAs.put("vllm:e2e_request_latency_seconds_" + part, "gregale_request_e2e_seconds_" + part);
      sameAs.put(
          "vllm:request_queue_time_seconds_" + part, "gregale_request_queue_seconds_" + part);
      sameAs.put(
          "vllm:request_generation_tokens_" + part, "gregale_request_generation_tokens_" + part);
    }
    sameAs.forEach(
        (vllm, ours) -> {
          assertThat(samples).containsKey(vllm);
          assertThat(samples.get(vllm)).as(vllm).isEqualTo(samples.get(ours));
        });
    assertThat(samples.get("vllm:time_to_first_token_seconds_count")).isPositive();
    assertThat(text)
        .contains("vllm:num_requests_running{engine=\"0\",model_name=\"" + MODEL + "\"} ")
        .contains("finished_reason=\"length\"")
        .contains("vllm:time_to_first_token_seconds_bucket{engine=\"0\"")
        .contains("le=\"0.001\"")
        .containsPattern(
            "vllm:cache_config_info\\{block_size=\"16\",engine=\"0\",num_gpu_blocks=\"[0-9]+\"} 1");
  }

  @Test
  void readinessTellsTheState() {
    JsonNode readiness = JSON.readTree(get("/actuator/health/readiness").body());
    assertThat(readiness.at("/components/engine/details/state").asString()).isEqualTo("SERVING");
    assertThat(get("/health").statusCode()).isEqualTo(200);
  }

  @Test
  void requestsAreInFlightRecordings(@TempDir Path folder) throws Exception {
    Path file = folder.resolve("requests.jfr");
    try (Recording recording = new Recording()) {
      recording.enable("dev.gregale.Request");
      recording.start();
      Map<String, Object> request = completion(7);
      request.put("n", 2);
      accepted(request, "/v1/completions");
      recording.stop();
      recording.dump(file);
    }
    List<RecordedEvent> events = new ArrayList<>(RecordingFile.readAllEvents(file));
    events.removeIf(
        e ->
            !e.getEventType().getName().equals("dev.gregale.Request")
                || e.getLong("completionTokens") != 14);
    assertThat(events).hasSize(1);
    assertThat(events.getFirst().getString("outcome")).isEqualTo("finished");
    assertThat(events.getFirst().getLong("promptTokens")).isEqualTo(10);
    assertThat(events.getFirst().getDuration()).isPositive();
  }
}
