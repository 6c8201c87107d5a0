package dev.gregale.web;

import static org.assertj.core.api.Assertions.assertThat;

import dev.gregale.convert.ConversionJobs;
import dev.gregale.convert.ConversionRoots;
import dev.gregale.convert.LogitsDifference;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.Comparator;
import java.util.List;
import java.util.stream.Stream;
import org.awaitility.Awaitility;
import org.junit.jupiter.api.AfterEach;
import org.springframework.boot.test.context.SpringBootTest;
import org.springframework.context.annotation.Bean;
import tools.jackson.databind.JsonNode;

/** Conversions over HTTP. A job with "verify" waits until the test lets it go on. */
@SpringBootTest(
    classes = ConvertFixture.Server.class,
    webEnvironment = SpringBootTest.WebEnvironment.RANDOM_PORT,
    properties = "gregale.convert.progress-interval=20ms")
abstract class ConvertFixture extends WebTest {
  static final String JOBS = "/admin/convert";

  static final HeldComparison COMPARISON =
      new HeldComparison(new LogitsDifference(1, 2, true, 0, 0, 1, 3, 3));

  /** Shared, as the server is, by all classes of these tests; empty between them. */
  static final Path ROOT = temporary();

  private static Path temporary() {
    try {
      Path directory = Files.createTempDirectory("convert");
      directory.toFile().deleteOnExit();
      return directory;
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
  }

  /** One job at a time, two that wait, three that are remembered. */
  static final class Server extends WebTestServer {
    @Bean(destroyMethod = "close")
    ConversionJobs conversionJobs() {
      return new ConversionJobs(ConversionRoots.of(List.of(ROOT)), COMPARISON, 1, 2, 3);
    }
  }

  @AfterEach
  void forgetJobsAndFiles() throws Exception {
    for (int i = 0; i < 2; i++) { // first cancelled, then forgotten
      for (JsonNode job : list()) {
        delete(job.get("id").asString());
        COMPARISON.letGo(10);
        Awaitility.await().until(() -> !isActive(job.get("id").asString()));
        COMPARISON.holdAll();
      }
    }
    assertThat(list()).isEmpty();
    try (Stream<Path> paths = Files.walk(ROOT)) {
      for (Path path : paths.sorted(Comparator.reverseOrder()).toList()) {
        if (!path.equals(ROOT)) {
          Files.delete(path);
        }
      }
    }
  }

  Path model(String name) throws IOException {
    Path model = Files.createDirectory(ROOT.resolve(name));
    Path odd = Path.of("src/test/resources/golden/random/odd0/hf");
    for (String file : List.of("config.json", "model.safetensors")) {
      Files.copy(odd.resolve(file), model.resolve(file));
    }
    return model;
  }

  HttpResponse<String> start(String body, String... headers) throws Exception {
    HttpRequest.Builder request =
        request(JOBS)
            .header("Content-Type", "application/json")
            .POST(HttpRequest.BodyPublishers.ofString(body));
    if (headers.length > 0) {
      request.headers(headers);
    }
    return send(request.build());
  }

  String started(String body) throws Exception {
    HttpResponse<String> response = start(body);
    assertThat(response.statusCode()).as(response.body()).isEqualTo(202);
    String id = JSON.readTree(response.body()).get("id").asString();
    assertThat(response.headers().firstValue("Location")).hasValue(JOBS + "/" + id);
    return id;
  }

  JsonNode job(String id) throws Exception {
    return JSON.readTree(get(JOBS + "/" + id).body());
  }

  boolean isActive(String id) throws Exception {
    String state = job(id).path("state").asString("gone");
    return List.of("queued", "running", "cancelling").contains(state);
  }

  JsonNode finished(String id) throws Exception {
    Awaitility.await().atMost(Duration.ofSeconds(20)).until(() -> !isActive(id));
    return job(id);
  }

  void awaitPhase(String id, String phase) {
    Awaitility.await().until(() -> job(id).at("/progress/phase").asString("").equals(phase));
  }

  JsonNode list() throws Exception {
    return JSON.readTree(get(JOBS).body()).get("conversions");
  }

  HttpResponse<String> delete(String id) throws Exception {
    return send(request(JOBS + "/" + id).DELETE().build());
  }

  static JsonNode problem(HttpResponse<String> response, int status, String code) {
    assertThat(response.statusCode()).as(response.body()).isEqualTo(status);
    assertThat(response.headers().firstValue("Content-Type")).hasValue("application/problem+json");
    JsonNode problem = JSON.readTree(response.body());
    assertThat(problem.get("status").asInt()).isEqualTo(status);
    assertThat(problem.get("requestId").asString()).startsWith("req-");
    assertThat(problem.path("code").asString("none")).isEqualTo(code);
    assertThat(problem.get("detail").asString()).hasSizeGreaterThan(15);
    return problem;
  }
}
