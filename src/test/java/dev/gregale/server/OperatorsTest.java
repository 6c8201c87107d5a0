package dev.gregale.server;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.net.URI;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse;
import java.util.Map;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/** What operators and their tools see of a server. */
class OperatorsTest extends RunningServer {

  /** What can be fetched can be asked about, as uptime checks and proxies do. */
  @ParameterizedTest
  @ValueSource(
      strings = {
        "/",
        "/index.html",
        "/favicon.svg",
        "/v1/models",
        "/v1/models/" + MODEL,
        "/health",
        "/metrics",
        "/actuator",
        "/actuator/health/liveness",
        "/actuator/prometheus",
        "/v3/api-docs",
        "/swagger-ui/index.html"
      })
  void headIsAnsweredLikeGet(String path) {
    HttpRequest head =
        HttpRequest.newBuilder(URI.create("http://127.0.0.1:" + port + path)).HEAD().build();
    HttpResponse<Void> asked =
        client.sendAsync(head, HttpResponse.BodyHandlers.discarding()).join();
    assertEquals(200, asked.statusCode());
    HttpResponse<String> got = get(path);
    assertEquals(200, got.statusCode());
    assertEquals(
        got.headers().firstValue("Content-Type"), asked.headers().firstValue("Content-Type"));
  }

  @Test
  void operatorsSeeHealthAndMetrics() {
    assertEquals(200, get("/actuator/health/liveness").statusCode());
    accepted(Map.of("model", MODEL, "prompt", "Count me", "max_tokens", 4), "/v1/completions");
    String exposition = get("/actuator/prometheus").body();
    assertTrue(exposition.contains("gregale_"), exposition);
    assertEquals(200, get("/v3/api-docs").statusCode());
    assertEquals(200, get("/swagger-ui/index.html").statusCode());
  }
}
