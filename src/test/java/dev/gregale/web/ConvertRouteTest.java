package dev.gregale.web;

import static org.assertj.core.api.Assertions.assertThat;

import java.net.http.HttpResponse;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.TimeUnit;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import tools.jackson.databind.JsonNode;

/** Conversions over HTTP, from the order to the end. */
class ConvertRouteTest extends ConvertFixture {
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
                    .formatted(ROOT.toRealPath())));
    assertThat(back.get("state").asString()).as(back.toString()).isEqualTo("succeeded");
    assertThat(Files.mismatch(ROOT.resolve("back/model.safetensors"), hf("model.safetensors")))
        .isEqualTo(-1);
    assertThat(list()).hasSize(2);
    assertThat(list().get(0).get("target").asString()).isEqualTo("back");
  }

  private static Path hf(String file) {
    return ROOT.resolve("hf").resolve(file);
  }

  @Test
  void quantisesAndDequantises() throws Exception {
    model("hf");
    JsonNode codes =
        finished(
            started(
                "{\"source\":\"hf\",\"target\":\"codes\",\"quantize\":\"fp8-block\",\"to\":\"te\"}"));
    assertThat(codes.get("state").asString()).as(codes.toString()).isEqualTo("succeeded");
    assertThat(codes.at("/result/to").asString()).isEqualTo("TRANSFORMER_ENGINE");
    assertThat(codes.at("/result/bytes").asLong()).isLessThan(973_248);
    assertThat(JSON.readTree(ROOT.resolve("codes/config.json")).at("/quantization_config"))
        .isNotEmpty();
    JsonNode values =
        finished(started("{\"source\":\"codes\",\"target\":\"values\",\"dequantize\":true}"));
    assertThat(values.at("/result/to").asString()).as(values.toString()).isEqualTo("HUGGING_FACE");
    assertThat(values.at("/result/bytes").asLong()).isEqualTo(973_248);
    JsonNode twice =
        finished(started("{\"source\":\"codes\",\"target\":\"twice\",\"quantize\":\"fp8\"}"));
    assertThat(twice.get("error").asString()).contains("rounded twice", "dequantise it first");
  }

  @Test
  void dealsExpertsOutToRanks() throws Exception {
    model("hf");
    JsonNode ranks =
        finished(started("{\"source\":\"hf\",\"target\":\"ep4\",\"expertParallelSize\":4}"));
    assertThat(ranks.at("/result/expertParallelSize").asInt()).as(ranks.toString()).isEqualTo(4);
    assertThat(ranks.at("/result/to").asString()).isEqualTo("TRANSFORMER_ENGINE");
    assertThat(ranks.at("/result/bytes").asLong()).isEqualTo(973_248);
    JsonNode back = finished(started("{\"source\":\"ep4\",\"target\":\"back\"}"));
    assertThat(back.get("state").asString()).as(back.toString()).isEqualTo("succeeded");
    assertThat(Files.mismatch(ROOT.resolve("back/model.safetensors"), hf("model.safetensors")))
        .isEqualTo(-1);
    JsonNode uneven =
        finished(started("{\"source\":\"hf\",\"target\":\"ep3\",\"expertParallelSize\":3}"));
    assertThat(uneven.get("error").asString())
        .contains("4 experts cannot be divided by 3: 1 remain", "1 or 2 or 4 ranks");
  }

  @Test
  void aDryRunWritesNothing() throws Exception {
    model("hf");
    JsonNode job = finished(started("{\"source\":\"hf\",\"target\":\"te\",\"dryRun\":true}"));
    assertThat(job.at("/result/tensors").asInt()).isEqualTo(17);
    assertThat(ROOT).isDirectoryNotContaining("glob:**te*");
  }

  @Test
  void whatFailsSaysWhatWasWrong() throws Exception {
    Path model = model("hf");
    Files.writeString(model.resolve("model.safetensors"), "not one");
    JsonNode job = finished(started("{\"source\":\"hf\",\"target\":\"te\"}"));
    assertThat(job.get("state").asString()).isEqualTo("failed");
    assertThat(job.get("error").asString()).contains("model.safetensors: 7 bytes");
    assertThat(ROOT.resolve("te")).doesNotExist();
  }

  @Test
  void progressIsTold() throws Exception {
    model("hf");
    String id = started("{\"source\":\"hf\",\"target\":\"te\",\"verify\":\"logits\"}");
    awaitPhase(id, "verify");
    Watched events = watch(id, "*/*");
    Watched lines = watch(id, "application/x-ndjson");
    events.awaitLines();
    lines.awaitLines();
    COMPARISON.letGo(1);
    assertThat(events.contentType()).startsWith("text/event-stream");
    List<String> frames = List.of(String.join("\n", events.all()).strip().split("\n\n"));
    assertThat(frames).hasSizeGreaterThan(3);
    assertThat(frames.subList(0, frames.size() - 1)).allMatch(f -> f.startsWith("event:progress"));
    assertThat(frames.getLast()).startsWith("event:end\ndata:{");
    JsonNode last = JSON.readTree(frames.getLast().substring("event:end\ndata:".length()));
    assertThat(last.get("state").asString()).isEqualTo("succeeded");
    assertThat(last.at("/result/difference/identical").asBoolean()).isTrue();
    List<JsonNode> read = lines.all().stream().map(JSON::readTree).toList();
    assertThat(read).hasSizeGreaterThan(3);
    assertThat(read.getFirst().at("/progress/phase").asString()).isEqualTo("verify");
    assertThat(read.getLast().get("state").asString()).isEqualTo("succeeded");
    assertThat(lines.contentType()).startsWith("application/x-ndjson");
  }

  /** A stream that is read while it comes. */
  private record Watched(
      CompletableFuture<HttpResponse<Stream<String>>> response,
      CountDownLatch toCome,
      CompletableFuture<List<String>> lines) {

    /** Until some of the lines are there. */
    void awaitLines() throws Exception {
      assertThat(toCome.await(20, TimeUnit.SECONDS)).isTrue();
    }

    List<String> all() throws Exception {
      return lines.get(20, TimeUnit.SECONDS);
    }

    String contentType() {
      return response.join().headers().firstValue("Content-Type").orElse("");
    }
  }

  private Watched watch(String id, String accept) {
    CountDownLatch toCome = new CountDownLatch(12); // four frames of events
    CompletableFuture<HttpResponse<Stream<String>>> response =
        CLIENT.sendAsync(
            request(JOBS + "/" + id + "/events").header("Accept", accept).build(),
            HttpResponse.BodyHandlers.ofLines());
    return new Watched(
        response,
        toCome,
        response.thenApplyAsync(answer -> answer.body().peek(line -> toCome.countDown()).toList()));
  }

  @Test
  void aCancelledJobLeavesNothing() throws Exception {
    model("hf");
    String id = started("{\"source\":\"hf\",\"target\":\"te\",\"verify\":\"logits\"}");
    awaitPhase(id, "verify");
    assertThat(ROOT.resolve(".te.partial")).isDirectory();
    HttpResponse<String> answer = delete(id);
    assertThat(answer.statusCode()).isEqualTo(202);
    assertThat(JSON.readTree(answer.body()).get("state").asString()).isEqualTo("cancelling");
    COMPARISON.letGo(1);
    assertThat(finished(id).get("state").asString()).isEqualTo("cancelled");
    assertThat(ROOT).isDirectoryNotContaining("glob:**te*");
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
        Files.createDirectory(ROOT.resolve(".te.partial/gregale-manifest.json")); // in the way
    COMPARISON.letGo(1);
    JsonNode job = finished(id);
    assertThat(job.get("state").asString()).isEqualTo("failed");
    assertThat(job.get("error").asString()).endsWith("goes on where this one stopped");
    assertThat(ROOT.resolve("te")).doesNotExist();
    Files.delete(manifest);
    assertThat(delete(id).statusCode()).isEqualTo(204);
    assertThat(ROOT.resolve(".te.partial")).doesNotExist();
  }
}
