package dev.gregale.web;

import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpRequest.BodyPublishers;
import java.net.http.HttpResponse;
import java.net.http.HttpResponse.BodyHandlers;
import java.time.Duration;
import org.junit.jupiter.api.BeforeEach;
import org.springframework.beans.factory.annotation.Autowired;
import org.springframework.boot.test.context.SpringBootTest;
import org.springframework.boot.test.web.server.LocalServerPort;
import tools.jackson.databind.JsonNode;
import tools.jackson.databind.json.JsonMapper;

/** Talks to a real server with the JDK's HttpClient in its default settings. */
@SpringBootTest(
    classes = WebTestServer.WithTokenizer.class,
    webEnvironment = SpringBootTest.WebEnvironment.RANDOM_PORT,
    properties = {
      "gregale.api.stream-buffer=64",
      "gregale.api.write-timeout=1s",
      "gregale.api.read-timeout=2s",
      "gregale.api.request-timeout=4s"
    })
abstract class WebTest {
  static final JsonMapper JSON = JsonMapper.builder().build();
  static final HttpClient CLIENT = HttpClient.newHttpClient();

  @LocalServerPort int port;
  @Autowired StubEngine engine;

  @BeforeEach
  void resetEngine() {
    engine.requests.clear();
    engine.answer = StubEngine::ramble;
    engine.info = StubEngine.INFO;
  }

  HttpRequest.Builder request(String path) {
    return HttpRequest.newBuilder(URI.create("http://127.0.0.1:" + port + path))
        .timeout(Duration.ofSeconds(20));
  }

  HttpRequest completion(String body) {
    return post("/v1/completions", body);
  }

  HttpRequest post(String path, String body) {
    return request(path)
        .header("Content-Type", "application/json")
        .POST(BodyPublishers.ofString(body))
        .build();
  }

  HttpResponse<String> send(HttpRequest request) throws Exception {
    return CLIENT.send(request, BodyHandlers.ofString());
  }

  HttpResponse<String> complete(String body) throws Exception {
    return send(completion(body));
  }

  HttpResponse<String> chat(String body) throws Exception {
    return send(post("/v1/chat/completions", body));
  }

  HttpResponse<String> get(String path) throws Exception {
    return send(request(path).build());
  }

  /** Ids and times differ from run to run, in nothing but their value. */
  static String normalised(String body) {
    return body.replaceAll("\"(chat)?cmpl-[0-9a-f]{32}\"", "\"ID\"")
        .replaceAll("\"created\":[0-9]{10},", "\"created\":NOW,");
  }

  static JsonNode error(HttpResponse<String> response) {
    JsonNode body = JSON.readTree(response.body());
    JsonNode error = body.get("error");
    if (body.size() != 1
        || error == null
        || error.size() != 4
        || !error.path("message").isString()
        || !error.path("type").isString()
        || !(error.path("param").isString() || error.path("param").isNull())
        || !(error.path("code").isString() || error.path("code").isNull())) {
      throw new AssertionError("not OpenAI's error object: " + response.body());
    }
    return error;
  }
}
