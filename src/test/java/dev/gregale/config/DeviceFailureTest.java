package dev.gregale.config;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.net.ServerSocket;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.List;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.TimeUnit;
import org.awaitility.Awaitility;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** A device that fails for good: every client is told, then the process ends. */
class DeviceFailureTest {
  private final HttpClient client =
      HttpClient.newBuilder().version(HttpClient.Version.HTTP_1_1).build();
  @TempDir private Path folder;
  private Process process;
  private int port;

  @Test
  void everyClientIsToldAndTheProcessEndsWithItsCode() throws Exception {
    CompletableFuture<HttpResponse<String>> stream = complete(200, true);
    CompletableFuture<HttpResponse<String>> whole = complete(200, false);
    String streamed = stream.get(30, TimeUnit.SECONDS).body();
    assertTrue(streamed.contains("\"text\":"), streamed);
    assertTrue(streamed.contains("engine_unavailable"), streamed);
    assertTrue(!streamed.contains("CUDA_ERROR"), streamed);
    HttpResponse<String> answer = whole.get(30, TimeUnit.SECONDS);
    assertEquals(503, answer.statusCode(), answer.body());
    assertTrue(answer.body().contains("engine_unavailable"), answer.body());
    assertTrue(process.waitFor(30, TimeUnit.SECONDS), "still running");
    String log = Files.readString(folder.resolve("out"));
    assertEquals(70, process.exitValue(), log);
    assertTrue(log.contains("CUDA_ERROR_ILLEGAL_ADDRESS"), log);
  }

  @BeforeEach
  void start() throws IOException {
    try (ServerSocket socket = new ServerSocket(0)) {
      port = socket.getLocalPort();
    }
    List<String> command =
        List.of(
            Path.of(System.getProperty("java.home"), "bin", "java").toString(),
            "-Xmx256m",
            "--add-modules=jdk.incubator.vector",
            "-cp",
            System.getProperty("java.class.path"),
            FaultyServer.class.getName(),
            "--server.port=" + port,
            "--gregale.engine.backend=cpu");
    process =
        new ProcessBuilder(command)
            .redirectErrorStream(true)
            .redirectOutput(folder.resolve("out").toFile())
            .start();
    Awaitility.await().atMost(Duration.ofSeconds(90)).until(this::isReady);
  }

  private boolean isReady() {
    assertTrue(process.isAlive(), "the server did not start");
    URI uri = URI.create("http://127.0.0.1:" + port + "/actuator/health/readiness");
    return client
            .sendAsync(HttpRequest.newBuilder(uri).build(), HttpResponse.BodyHandlers.ofString())
            .handle((answer, error) -> error == null ? answer.statusCode() : 0)
            .join()
        == 200;
  }

  private CompletableFuture<HttpResponse<String>> complete(int maxTokens, boolean stream) {
    String body =
        """
        {"model": "fairytale-moe-7m", "prompt": "Once", "ignore_eos": true,
         "max_tokens": %d, "stream": %s}"""
            .formatted(maxTokens, stream);
    HttpRequest request =
        HttpRequest.newBuilder(URI.create("http://127.0.0.1:" + port + "/v1/completions"))
            .header("Content-Type", "application/json")
            .POST(HttpRequest.BodyPublishers.ofString(body))
            .build();
    return client.sendAsync(request, HttpResponse.BodyHandlers.ofString());
  }

  @AfterEach
  void stop() {
    process.destroyForcibly();
    client.close();
  }
}
