package dev.gregale.web;

import static org.assertj.core.api.Assertions.assertThat;

import dev.gregale.convert.ConversionJobs;
import dev.gregale.convert.ConversionRoots;
import dev.gregale.convert.LogitsDifference;
import java.io.IOException;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.List;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.TimeUnit;
import java.util.stream.Stream;
import org.awaitility.Awaitility;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.springframework.boot.test.context.SpringBootTest;
import org.springframework.context.annotation.Bean;
import tools.jackson.databind.JsonNode;

/** Conversions over HTTP. A job with "verify" waits until the test lets it go on. */
@SpringBootTest(
    classes = ConvertRouteTest.Server.class,
    webEnvironment = SpringBootTest.WebEnvironment.RANDOM_PORT,
    properties = "gregale.convert.progress-interval=20ms")
class ConvertRouteTest extends WebTest {
  private static final String JOBS = "/admin/convert";
  private static final HeldComparison COMPARISON =
      new HeldComparison(new LogitsDifference(1, 2, true, 0, 0, 1, 3, 3));
  @TempDir private static Path root;

  /** One job at a time, two that wait, three that are remembered. */
  static final class Server extends WebTestServer {
    @Bean(destroyMethod = "close")
    ConversionJobs conversionJobs() {
      return new ConversionJobs(ConversionRoots.of(List.of(root)), COMPARISON, 1, 2, 3);
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
    try (Stream<Path> paths = Files.walk(root)) {
      for (Path path : paths.sorted(Comparator.reverseOrder()).toList()) {
        if (!path.equals(root)) {
          Files.delete(path);
        }
      }
    }
  }

  private static Path model(String name) throws IOException {
    Path model = Files.createDirectory(root.resolve(name));
    Path odd = Path.of("src/test/resources/golden/random/odd0/hf");
    for (String file : List.of("config.json", "model.safetensors")) {
      Files.copy(odd.resolve(file), model.resolve(file));
    }
    return model;
  }

  private HttpResponse<String> start(String body, String... headers) throws Exception {
    HttpRequest.Builder request =
        request(JOBS)
            .header("Content-Type", "application/json")
            .POST(HttpRequest.BodyPublishers.ofString(body));
    if (headers.length > 0) {
      request.headers(headers);
    }
    return send(request.build());
  }

  private String started(String body) throws Exception {
    HttpResponse<String> response = start(body);
    assertThat(response.statusCode()).as(response.body()).isEqualTo(202);
    String id = JSON.readTree(response.body()).get("id").asString();
    assertThat(response.headers().firstValue("Location")).hasValue(JOBS + "/" + id);
    return id;
  }

  private JsonNode job(String id) throws Exception {
    return JSON.readTree(get(JOBS + "/" + id).body());
  }

  private boolean isActive(String id) throws Exception {
    String state = job(id).path("state").asString("gone");
    return List.of("queued", "running", "cancelling").contains(state);
  }

  private JsonNode finished(String id) throws Exception {
    Awaitility.await().atMost(Duration.ofSeconds(20)).until(() -> !isActive(id));
    return job(id);
  }

  private void awaitPhase(String id, String phase) {
    Awaitility.await().until(() -> job(id).at("/progress/phase").asString("").equals(phase));
  }

  private JsonNode list() throws Exception {
    return JSON.readTree(get(JOBS).body()).get("conversions");
  }

  private HttpResponse<String> delete(String id) throws Exception {
    return send(request(JOBS + "/" + id).DELETE().build());
  }

  private static JsonNode problem(HttpResponse<String> response, int status, String code) {
    assertThat(response.statusCode()).as(response.body()).isEqualTo(status);
    assertThat(response.headers().firstValue("Content-Type")).hasValue("application/problem+json");
    JsonNode problem = JSON.readTree(response.body());
    assertThat(problem.get("status").asInt()).isEqualTo(status);
    assertThat(problem.get("requestId").asString()).startsWith("req-");
    assertThat(problem.path("code").asString("none")).isEqualTo(code);
    assertThat(problem.get("detail").asString()).hasSizeGreaterThan(15);
    return problem;
  }

  @Test
  void convertsThereAndBack() throws Exception {
    model("hf");
    JsonNode te = finished(started("{\"source\":\"hf\",\"target\":\"te\"}"));
    assertThat(te.get("state").asString()).as(te.toString()).isEqualTo("succeeded");
    assertThat(te.at("/result/to").asString()).isEqualTo("TRANSFORMER_ENGINE");
    assertThat(te.at("/result/bytes").asLong()).isEqualTo(973_248);
    assertThat(te.at("/progress/bytesDone").asLong()).isEqualTo(973_248);
    assertThat(te.propertyNames())
        .contains("createdAt", "startedAt", "finishedAt")
        .doesNotContain("error");
    JsonNode back =
        finished(
            started(
                "{\"source\":\"%s/te\",\"target\":\"back\",\"to\":\"hf\",\"maxShardSize\":\"1GB\"}"
                    .formatted(root.toRealPath())));
    assertThat(back.get("state").asString()).as(back.toString()).isEqualTo("succeeded");
    assertThat(Files.mismatch(root.resolve("back/model.safetensors"), hf("model.safetensors")))
        .isEqualTo(-1);
    assertThat(list()).hasSize(2);
    assertThat(list().get(0).get("target").asString()).isEqualTo("back");
  }

  private static Path hf(String file) {
    return root.resolve("hf").resolve(file);
  }

  @Test
  void aDryRunWritesNothing() throws Exception {
    model("hf");
    JsonNode job = finished(started("{\"source\":\"hf\",\"target\":\"te\",\"dryRun\":true}"));
    assertThat(job.at("/result/tensors").asInt()).isEqualTo(17);
    assertThat(root).isDirectoryNotContaining("glob:**te*");
  }

  @Test
  void whatFailsSaysWhatWasWrong() throws Exception {
    Path model = model("hf");
    Files.writeString(model.resolve("model.safetensors"), "not one");
    JsonNode job = finished(started("{\"source\":\"hf\",\"target\":\"te\"}"));
    assertThat(job.get("state").asString()).isEqualTo("failed");
    assertThat(job.get("error").asString()).contains("model.safetensors: 7 bytes");
    assertThat(root.resolve("te")).doesNotExist();
  }

  @Test
  void progressIsTold() throws Exception {
    model("hf");
    String id = started("{\"source\":\"hf\",\"target\":\"te\",\"verify\":\"logits\"}");
    awaitPhase(id, "verify");
    CompletableFuture<HttpResponse<String>> events = watch(id, "*/*");
    CompletableFuture<HttpResponse<String>> lines = watch(id, "application/x-ndjson");
    Thread.sleep(200);
    COMPARISON.letGo(1);
    String text = events.get(20, TimeUnit.SECONDS).body();
    assertThat(events.get().headers().firstValue("Content-Type").orElse(""))
        .startsWith("text/event-stream");
    List<String> frames = List.of(text.strip().split("\n\n"));
    assertThat(frames).hasSizeGreaterThan(3);
    assertThat(frames.subList(0, frames.size() - 1)).allMatch(f -> f.startsWith("event:progress"));
    assertThat(frames.getLast()).startsWith("event:end\ndata:{");
    JsonNode last = JSON.readTree(frames.getLast().substring("event:end\ndata:".length()));
    assertThat(last.get("state").asString()).isEqualTo("succeeded");
    assertThat(last.at("/result/difference/identical").asBoolean()).isTrue();
    List<JsonNode> read = new ArrayList<>();
    lines.get().body().lines().forEach(line -> read.add(JSON.readTree(line)));
    assertThat(read).hasSizeGreaterThan(3);
    assertThat(read.getFirst().at("/progress/phase").asString()).isEqualTo("verify");
    assertThat(read.getLast().get("state").asString()).isEqualTo("succeeded");
    assertThat(lines.get().headers().firstValue("Content-Type").orElse(""))
        .startsWith("application/x-ndjson");
  }

  private CompletableFuture<HttpResponse<String>> watch(String id, String accept) {
    return CLIENT.sendAsync(
        request(JOBS + "/" + id + "/events").header("Accept", accept).build(),
        HttpResponse.BodyHandlers.ofString());
  }

  @Test
  void aCancelledJobLeavesNothing() throws Exception {
    model("hf");
    String id = started("{\"source\":\"hf\",\"target\":\"te\",\"verify\":\"logits\"}");
    awaitPhase(id, "verify");
    assertThat(root.resolve(".te.partial")).isDirectory();
    HttpResponse<String> answer = delete(id);
    assertThat(answer.statusCode()).isEqualTo(202);
    assertThat(JSON.readTree(answer.body()).get("state").asString()).isEqualTo("cancelling");
    COMPARISON.letGo(1);
    assertThat(finished(id).get("state").asString()).isEqualTo("cancelled");
    assertThat(root).isDirectoryNotContaining("glob:**te*");
    assertThat(delete(id).statusCode()).isEqualTo(204);
    problem(get(JOBS + "/" + id), 404, "no_such_job");
    problem(delete(id), 404, "no_such_job");
    problem(get(JOBS + "/" + id + "/events"), 404, "no_such_job");
  }

  @Test
  void whatAFailedJobHasLeftGoesWithIt() throws Exception {
    model("hf");
    String id = started("{\"source\":\"hf\",\"target\":\"te\",\"verify\":\"logits\"}");
    awaitPhase(id, "verify");
    Path manifest =
        Files.createDirectory(root.resolve(".te.partial/gregale-manifest.json")); // in the way
    COMPARISON.letGo(1);
    JsonNode job = finished(id);
    assertThat(job.get("state").asString()).isEqualTo("failed");
    assertThat(job.get("error").asString()).endsWith("goes on where this one stopped");
    assertThat(root.resolve("te")).doesNotExist();
    Files.delete(manifest);
    assertThat(delete(id).statusCode()).isEqualTo(204);
    assertThat(root.resolve(".te.partial")).doesNotExist();
  }

  @Test
  void jobsAreBoundedAndTargetsExclusive() throws Exception {
    model("hf");
    String running = started("{\"source\":\"hf\",\"target\":\"a\",\"verify\":\"logits\"}");
    awaitPhase(running, "verify");
    problem(start("{\"source\":\"hf\",\"target\":\"a\"}"), 409, "target_busy");
    String queued = started("{\"source\":\"hf\",\"target\":\"b\"}");
    started("{\"source\":\"hf\",\"target\":\"c\"}");
    HttpResponse<String> refused = start("{\"source\":\"hf\",\"target\":\"d\"}");
    problem(refused, 429, "too_many_conversions");
    assertThat(refused.headers().firstValue("Retry-After")).isPresent();
    delete(queued);
    assertThat(job(queued).get("state").asString()).isEqualTo("cancelled");
    String last = started("{\"source\":\"hf\",\"target\":\"d\"}"); // in the place that is free
    COMPARISON.letGo(1);
    assertThat(finished(last).get("state").asString()).isEqualTo("succeeded");
    assertThat(root.resolve("b")).doesNotExist();
    finished(started("{\"source\":\"hf\",\"target\":\"e\"}"));
    finished(started("{\"source\":\"hf\",\"target\":\"f\"}"));
    finished(started("{\"source\":\"hf\",\"target\":\"g\"}"));
    assertThat(list()).as("three that have ended").hasSizeBetween(3, 4);
    problem(get(JOBS + "/" + running), 404, "no_such_job");
  }

  @Test
  void aKeyGivesTheSameJobAgain() throws Exception {
    model("hf");
    String body = "{\"source\":\"hf\",\"target\":\"te\"}";
    HttpResponse<String> first = start(body, "Idempotency-Key", "key-1");
    String location = first.headers().firstValue("Location").orElseThrow();
    finished(location.substring(JOBS.length() + 1));
    HttpResponse<String> again = start(body, "Idempotency-Key", "key-1");
    assertThat(again.statusCode()).isEqualTo(202);
    assertThat(again.headers().firstValue("Location")).hasValue(location);
    assertThat(list()).hasSize(1);
    problem(
        start("{\"source\":\"hf\",\"target\":\"x\"}", "Idempotency-Key", "key-1"),
        422,
        "idempotency_key_reused");
    problem(start(body, "Idempotency-Key", "key 1"), 400, "none");
    problem(start(body, "Idempotency-Key", "key-2"), 409, "target_exists");
  }

  @Test
  void wrongRequestsNameTheField() throws Exception {
    model("hf");
    for (String[] wrong :
        new String[][] {
          {"{\"target\":\"te\"}", "source"},
          {"{\"source\":\"hf\"}", "target"},
          {"{\"source\":\"hf\",\"target\":\"te\",\"to\":\"gguf\"}", "to"},
          {"{\"source\":\"hf\",\"target\":\"te\",\"dtype\":\"int4\"}", "dtype"},
          {"{\"source\":\"hf\",\"target\":\"te\",\"maxShardSize\":\"big\"}", "maxShardSize"},
          {"{\"source\":\"hf\",\"target\":\"te\",\"verify\":\"soul\"}", "verify"},
          {"{\"source\":\"hf\",\"target\":\"te\",\"dryrun\":true}", "dryrun"},
          {"{\"source\":7,\"target\":\"te\"}", "source"},
          {"{\"source\":\"hf\",\"target\":\"te\",\"dryRun\":\"yes\"}", "dryRun"},
        }) {
      JsonNode problem = problem(start(wrong[0]), 400, "none");
      assertThat(problem.get("param").asString()).isEqualTo(wrong[1]);
    }
    problem(start("[]"), 400, "none");
    assertThat(start("{}", "Accept", "application/json").statusCode()).isEqualTo(400);
    assertThat(list()).isEmpty();
    assertThat(root.resolve("te")).doesNotExist();
  }

  @Test
  void namesStayInTheRoots() throws Exception {
    Path model = model("hf");
    Files.createSymbolicLink(root.resolve("out"), Path.of("/etc").toRealPath());
    problem(start("{\"source\":\"../hf\",\"target\":\"te\"}"), 400, "malformed_name");
    problem(start("{\"source\":\"hf\",\"target\":\"te\\u0000\"}"), 400, "malformed_name");
    problem(start("{\"source\":\"/etc\",\"target\":\"te\"}"), 403, "outside_roots");
    problem(start("{\"source\":\"out\",\"target\":\"te\"}"), 403, "outside_roots");
    problem(start("{\"source\":\"hf\",\"target\":\"out/te\"}"), 403, "outside_roots");
    problem(start("{\"source\":\"none\",\"target\":\"te\"}"), 404, "no_such_directory");
    problem(start("{\"source\":\"hf\",\"target\":\"none/te\"}"), 404, "no_such_directory");
    problem(start("{\"source\":\"hf\",\"target\":\"hf\"}"), 409, "target_exists");
    Files.delete(model.resolve("config.json"));
    Files.createSymbolicLink(model.resolve("config.json"), Path.of("/etc/hostname"));
    problem(start("{\"source\":\"hf\",\"target\":\"te\"}"), 403, "outside_roots");
    assertThat(list()).isEmpty();
    Files.delete(root.resolve("out"));
  }
}
