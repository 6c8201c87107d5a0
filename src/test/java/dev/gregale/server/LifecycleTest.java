package dev.gregale.server;

import static org.assertj.core.api.Assertions.assertThat;

import io.opentelemetry.proto.common.v1.AnyValue;
import io.opentelemetry.proto.trace.v1.Span;
import java.net.http.HttpResponse;
import java.net.http.HttpResponse.BodyHandlers;
import java.nio.file.Path;
import java.time.Duration;
import java.util.HashMap;
import java.util.HexFormat;
import java.util.Map;
import java.util.concurrent.CompletableFuture;
import java.util.random.RandomGenerator;
import java.util.random.RandomGeneratorFactory;
import org.awaitility.Awaitility;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;
import tools.jackson.databind.JsonNode;
import tools.jackson.databind.json.JsonMapper;

/** A server from start to SIGTERM, with traces exported and logs in JSON. */
class LifecycleTest {
  private static final JsonMapper JSON = JsonMapper.shared();
  private static final String TRACE = "4bf92f3577b34da6a3ce929d0e0e4736";
  private static final String PARENT = "00f067aa0ba902b7";

  private static Map<String, Object> completion(int maxTokens, boolean stream) {
    Map<String, Object> request = new HashMap<>();
    request.put("model", "fairytale-moe-7m");
    request.put("prompt", "Once upon a time");
    request.put("max_tokens", maxTokens);
    request.put("temperature", 0.7);
    request.put("ignore_eos", true);
    request.put("stream", stream);
    return request;
  }

  @Test
  void tracesLogsAndShutdown(@TempDir Path folder) throws Exception {
    try (Collector collector = new Collector();
        ServerProcess server =
            new ServerProcess(
                folder.resolve("log"),
                Map.of("OTEL_EXPORTER_OTLP_ENDPOINT", collector.endpoint()),
                "--gregale.engine.drain-timeout=500ms",
                "--management.opentelemetry.tracing.export.schedule-delay=100ms",
                "--logging.level.gregale.requests=debug",
                "--logging.structured.format.console=ecs")) {
      traced(server, collector);
      drained(server);
      assertLogs(server);
    }
  }

  /** As {@link LoadTest} does fifty times. */
  @Test
  void noAnswerIsCutOffByAShutdown(@TempDir Path folder) throws Exception {
    RandomGenerator random = RandomGeneratorFactory.of("L64X128MixRandom").create(5);
    ShutdownRound.Ends ends = new ShutdownRound().run(folder.resolve("log"), random);
    assertThat(ends.wrong()).isEmpty();
    assertThat(ends.whole() + ends.cutShort()).isPositive();
  }

  /** While the context is made, and while the model is loaded. */
  @ParameterizedTest
  @ValueSource(strings = {"No active profile set", "Netty started on port"})
  void aStopOnTheWayUpIsQuiet(String written, @TempDir Path folder) throws Exception {
    try (ServerProcess server = new ServerProcess(folder.resolve("log"), written)) {
      server.terminate();
      assertThat(server.awaitExit(Duration.ofSeconds(60))).isEqualTo(143);
      assertThat(server.log()).doesNotContain("ERROR", "Exception", "gregale: ");
    }
  }

  /** The caller's trace goes on into what the engine did. */
  private static void traced(ServerProcess server, Collector collector) throws Exception {
    HttpResponse<String> answer =
        server
            .client()
            .send(
                server
                    .post("/v1/completions", completion(6, false))
                    .header("traceparent", "00-" + TRACE + "-" + PARENT + "-01")
                    .header("X-Request-Id", "traced-1")
                    .build(),
                BodyHandlers.ofString());
    assertThat(answer.statusCode()).isEqualTo(200);
    Awaitility.await()
        .atMost(Duration.ofSeconds(15))
        .until(() -> collector.spans.stream().filter(LifecycleTest::isOfTrace).count() == 2);
    Span http =
        collector.spans.stream()
            .filter(s -> isOfTrace(s) && s.getKind() == Span.SpanKind.SPAN_KIND_SERVER)
            .findFirst()
            .orElseThrow();
    assertThat(hex(http.getParentSpanId().toByteArray())).isEqualTo(PARENT);
    Span generation =
        collector.spans.stream()
            .filter(s -> s.getName().equals("text_completion fairytale-moe-7m"))
            .findFirst()
            .orElseThrow();
    assertThat(generation.getParentSpanId()).isEqualTo(http.getSpanId());
    Map<String, AnyValue> attributes = new HashMap<>();
    generation.getAttributesList().forEach(a -> attributes.put(a.getKey(), a.getValue()));
    assertThat(attributes.get("gen_ai.operation.name").getStringValue())
        .isEqualTo("text_completion");
    assertThat(attributes.get("gen_ai.request.model").getStringValue())
        .isEqualTo("fairytale-moe-7m");
    assertThat(attributes.get("gen_ai.request.max_tokens").getIntValue()).isEqualTo(6);
    assertThat(attributes.get("gen_ai.request.temperature").getDoubleValue()).isEqualTo(0.7);
    assertThat(attributes.get("gen_ai.usage.input_tokens").getIntValue()).isEqualTo(5);
    assertThat(attributes.get("gen_ai.usage.output_tokens").getIntValue()).isEqualTo(6);
    assertThat(attributes.get("gen_ai.response.finish_reasons").getArrayValue().getValues(0))
        .isEqualTo(AnyValue.newBuilder().setStringValue("length").build());
    assertThat(attributes.get("gen_ai.response.id").getStringValue())
        .isEqualTo(JSON.readTree(answer.body()).get("id").asString());
    assertThat(attributes.get("gregale.request.id").getStringValue()).isEqualTo("traced-1");
  }

  private static boolean isOfTrace(Span span) {
    return hex(span.getTraceId().toByteArray()).equals(TRACE);
  }

  private static String hex(byte[] bytes) {
    return HexFormat.of().formatHex(bytes);
  }

  /** What cannot finish in time ends with an error; what comes meanwhile is told to come back. */
  private static void drained(ServerProcess server) throws Exception {
    CompletableFuture<HttpResponse<String>> endless =
        server
            .client()
            .sendAsync(
                server.post("/v1/completions", completion(4000, true)).build(),
                BodyHandlers.ofString());
    CompletableFuture<HttpResponse<String>> whole =
        server
            .client()
            .sendAsync(
                server.post("/v1/completions", completion(4000, false)).build(),
                BodyHandlers.ofString());
    Awaitility.await()
        .until(() -> server.get("/metrics").body().contains("gregale_requests_running 2.0"));
    server.terminate();
    Awaitility.await()
        .pollInterval(Duration.ofMillis(5))
        .until(() -> server.get("/actuator/health/readiness").body().contains("DRAINING"));
    HttpResponse<String> late =
        server
            .client()
            .send(
                server.post("/v1/completions", completion(1, false)).build(),
                BodyHandlers.ofString());
    assertThat(late.statusCode()).isEqualTo(503);
    assertThat(late.headers().firstValue("Retry-After")).isPresent();
    String stream = endless.join().body();
    assertThat(stream).endsWith("data: [DONE]\n\n").contains("\"code\":\"engine_unavailable\"");
    assertThat(whole.join().statusCode()).isEqualTo(503);
    assertThat(server.awaitExit(Duration.ofSeconds(10))).isEqualTo(143);
  }

  private static void assertLogs(ServerProcess server) throws Exception {
    int requests = 0;
    for (String line : server.log().split("\n")) {
      if (line.startsWith("{")) {
        JsonNode entry = JSON.readTree(line);
        assertThat(entry.has("@timestamp")).isTrue();
        if (entry.path("request_id").asString("").equals("traced-1")) {
          assertThat(entry.get("completion_tokens").asInt()).isEqualTo(6);
          assertThat(entry.get("outcome").asString()).isEqualTo("completed");
          requests++;
        }
      } else {
        assertThat(line).startsWith("WARNING: "); // the JVM's own
      }
    }
    assertThat(requests).isEqualTo(1);
  }
}
