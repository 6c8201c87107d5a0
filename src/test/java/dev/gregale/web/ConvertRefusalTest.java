package dev.gregale.web;

import static org.assertj.core.api.Assertions.assertThat;

import java.net.http.HttpResponse;
import java.nio.file.Files;
import java.nio.file.Path;
import org.junit.jupiter.api.Test;
import tools.jackson.databind.JsonNode;

/** Conversions over HTTP that are refused, by what and with which answer. */
class ConvertRefusalTest extends ConvertFixture {
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
    assertThat(ROOT.resolve("b")).doesNotExist();
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
          {"{\"source\":\"hf\",\"target\":\"te\",\"quantize\":\"none\"}", "quantize"},
          {"{\"source\":\"hf\",\"target\":\"te\",\"quantize\":\"fp8_block\"}", "quantize"},
          {"{\"source\":\"hf\",\"target\":\"te\",\"quantize\":8}", "quantize"},
          {
            "{\"source\":\"hf\",\"target\":\"te\",\"quantize\":\"fp8\",\"dequantize\":true}",
            "dequantize"
          },
          {"{\"source\":\"hf\",\"target\":\"te\",\"maxShardSize\":\"big\"}", "maxShardSize"},
          {"{\"source\":\"hf\",\"target\":\"te\",\"verify\":\"soul\"}", "verify"},
          {"{\"source\":\"hf\",\"target\":\"te\",\"expertParallelSize\":0}", "expertParallelSize"},
          {
            "{\"source\":\"hf\",\"target\":\"te\",\"expertParallelSize\":257}", "expertParallelSize"
          },
          {
            "{\"source\":\"hf\",\"target\":\"te\",\"to\":\"hf\",\"expertParallelSize\":2}",
            "expertParallelSize"
          },
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
    assertThat(ROOT.resolve("te")).doesNotExist();
  }

  @Test
  void namesStayInTheRoots() throws Exception {
    Path model = model("hf");
    Files.createSymbolicLink(ROOT.resolve("out"), Path.of("/etc").toRealPath());
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
    Files.delete(ROOT.resolve("out"));
  }
}
