package dev.gregale.server;

import static org.junit.jupiter.api.Assertions.assertEquals;

import dev.gregale.GregaleApplication;
import io.micrometer.core.instrument.MeterRegistry;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse;
import java.nio.file.Path;
import java.time.Duration;
import java.util.List;
import java.util.Map;
import java.util.concurrent.CompletableFuture;
import org.awaitility.Awaitility;
import org.junit.jupiter.api.BeforeEach;
import org.springframework.beans.factory.annotation.Autowired;
import org.springframework.boot.test.context.SpringBootTest;
import org.springframework.boot.test.web.server.LocalServerPort;
import tools.jackson.databind.JsonNode;
import tools.jackson.databind.json.JsonMapper;

/**
 * The whole server with the bundled model, over HTTP with the JDK's client as it comes. One server
 * for all test classes.
 */
@SpringBootTest(
    classes = GregaleApplication.class,
    webEnvironment = SpringBootTest.WebEnvironment.RANDOM_PORT,
    properties = {"gregale.engine.max-num-seqs=16", "gregale.engine.max-queued-requests=64"})
abstract class RunningServer {
  static final JsonMapper JSON = JsonMapper.shared();
  static final String MODEL = "fairytale-moe-7m";
  final HttpClient client = HttpClient.newHttpClient();
  @LocalServerPort int port;
  @Autowired MeterRegistry metrics;

  @BeforeEach
  void awaitReadiness() {
    Awaitility.await()
        .atMost(Duration.ofSeconds(30))
        .until(() -> get("/actuator/health/readiness").statusCode() == 200);
  }

  /** The answer to a request that must be taken. */
  JsonNode accepted(Map<String, Object> request, String path) {
    HttpResponse<String> answer = send(request, path).join();
    assertEquals(200, answer.statusCode(), answer.body());
    return JSON.readTree(answer.body());
  }

  CompletableFuture<HttpResponse<String>> send(Map<String, Object> request, String path) {
    return client.sendAsync(post(request, path), HttpResponse.BodyHandlers.ofString());
  }

  HttpRequest post(Map<String, Object> request, String path) {
    return HttpRequest.newBuilder(URI.create("http://127.0.0.1:" + port + path))
        .header("Content-Type", "application/json")
        .POST(HttpRequest.BodyPublishers.ofString(JSON.writeValueAsString(request)))
        .build();
  }

  HttpResponse<String> get(String path) {
    URI uri = URI.create("http://127.0.0.1:" + port + path);
    return client
        .sendAsync(HttpRequest.newBuilder(uri).build(), HttpResponse.BodyHandlers.ofString())
        .join();
  }

  /** The token of a text inside of a word, as a key of logit_bias. */
  String tokenId(String text) {
    Map<String, Object> request = Map.of("prompt", "a" + text, "add_special_tokens", false);
    return Integer.toString(ints(accepted(request, "/tokenize").get("tokens")).getLast());
  }

  static List<Integer> ints(JsonNode array) {
    return array.valueStream().map(JsonNode::asInt).toList();
  }

  static Path golden(String name) {
    return Path.of("src/test/resources/golden").resolve(name);
  }

  double gauge(String name) {
    return metrics.get(name).gauge().value();
  }
}
