package dev.gregale.web;

import static org.assertj.core.api.Assertions.assertThat;

import java.net.http.HttpRequest.BodyPublishers;
import java.net.http.HttpResponse;
import org.junit.jupiter.api.Test;
import tools.jackson.databind.JsonNode;

/** Errors that the framework raises, models, request ids, and what lies outside of /v1. */
class ErrorRouteTest extends WebTest {

  @Test
  void unknownPathsUnderV1AreOpenAiErrors() throws Exception {
    for (String path : new String[] {"/v1", "/v1/", "/v1/nothing", "/v1/completions/"}) {
      HttpResponse<String> response = get(path);
      assertThat(response.statusCode()).as(path).isEqualTo(404);
      assertThat(error(response).get("code").asString()).isEqualTo("unknown_url");
    }
    HttpResponse<String> post =
        send(request("/v1/nothing").POST(BodyPublishers.ofString("{}")).build());
    assertThat(post.statusCode()).isEqualTo(404);
    assertThat(error(post).get("message").asString()).startsWith("There is no POST /v1/nothing;");
  }

  /** A proxy in front might read these paths differently. */
  @Test
  void ambiguousUrlsAreRefused() throws Exception {
    for (String path : new String[] {"/v1/%2e%2e/x", "/v1//models", "/v1/models;x=1", "/v1/%5cx"}) {
      HttpResponse<String> response = get(path);
      assertThat(response.statusCode()).as(path).isEqualTo(400);
      assertThat(error(response).get("code").asString()).isEqualTo("malformed_request");
    }
  }

  @Test
  void theWrongMethodIs405() throws Exception {
    HttpResponse<String> response = get("/v1/completions");
    assertThat(response.statusCode()).isEqualTo(405);
    assertThat(response.headers().firstValue("Allow")).hasValue("POST");
    assertThat(error(response).get("message").asString())
        .isEqualTo("GET /v1/completions is not allowed; use one of [POST]");
    HttpResponse<String> delete = send(request("/v1/models").DELETE().build());
    assertThat(delete.statusCode()).isEqualTo(405);
    assertThat(error(delete).get("code").asString()).isEqualTo("method_not_allowed");
  }

  @Test
  void onlyJsonIsTaken() throws Exception {
    for (String type : new String[] {"text/plain", "application/x-www-form-urlencoded", "x", ""}) {
      HttpResponse<String> response =
          send(
              request("/v1/completions")
                  .header("Content-Type", type)
                  .POST(BodyPublishers.ofString("{\"model\":\"stub\"}"))
                  .build());
      assertThat(response.statusCode()).as(type).isEqualTo(415);
      assertThat(error(response).get("message").asString())
          .startsWith("The Content-Type is ")
          .endsWith("; send application/json");
    }
    HttpResponse<String> none =
        send(request("/v1/completions").POST(BodyPublishers.ofString("{}")).build());
    assertThat(error(none).get("message").asString())
        .isEqualTo("The Content-Type is missing; send application/json");
  }

  @Test
  void acceptIsNotHeldAgainstTheClient() throws Exception {
    HttpResponse<String> response =
        send(
            request("/v1/completions")
                .header("Content-Type", "application/json; charset=utf-8")
                .header("Accept", "text/event-stream")
                .POST(BodyPublishers.ofString("{\"model\":\"stub\"}"))
                .build());
    assertThat(response.statusCode()).isEqualTo(200);
    HttpResponse<String> models =
        send(request("/v1/models").header("Accept", "text/plain").build());
    assertThat(models.statusCode()).isEqualTo(406);
    assertThat(error(models).get("code").asString()).isEqualTo("not_acceptable");
  }

  @Test
  void modelsAreListed() throws Exception {
    String model =
        "{\"id\":\"stub\",\"object\":\"model\",\"created\":1700000000,\"owned_by\":\"gregale\","
            + "\"max_model_len\":64}";
    assertThat(get("/v1/models").body())
        .isEqualTo("{\"object\":\"list\",\"data\":[" + model + "]}");
    assertThat(get("/v1/models/stub").body()).isEqualTo(model);
  }

  @Test
  void anUnknownModelIs404() throws Exception {
    for (String path : new String[] {"x", "org/name", "org%2Fname", "", "st%75b/x", "%f0"}) {
      HttpResponse<String> response = get("/v1/models/" + path);
      assertThat(response.statusCode()).as(path).isEqualTo(404);
      assertThat(error(response).get("code").asString()).isEqualTo("model_not_found");
    }
    HttpResponse<String> response = complete("{\"model\":\"gpt-9\",\"prompt\":\"x\"}");
    assertThat(response.statusCode()).isEqualTo(404);
    assertThat(error(response).toString())
        .isEqualTo(
            "{\"message\":\"The model 'gpt-9' does not exist; this server has 'stub'\","
                + "\"type\":\"invalid_request_error\",\"param\":\"model\",\"code\":\"model_not_found\"}");
  }

  @Test
  void aSaneRequestIdIsKept() throws Exception {
    assertThat(requestIdFor("my-id_1.2:3")).isEqualTo("my-id_1.2:3");
    assertThat(requestIdFor("x".repeat(128))).isEqualTo("x".repeat(128));
    for (String bad : new String[] {"x".repeat(129), "a b", "<script>", ""}) {
      assertThat(requestIdFor(bad)).matches("req-[0-9a-f-]{36}");
    }
    assertThat(get("/v1/nothing").headers().allValues("X-Request-Id")).hasSize(1);
  }

  private String requestIdFor(String id) throws Exception {
    return send(request("/v1/models").header("X-Request-Id", id).build())
        .headers()
        .firstValue("X-Request-Id")
        .orElseThrow();
  }

  @Test
  void elsewhereErrorsAreProblems() throws Exception {
    HttpResponse<String> response = get("/nothing");
    assertThat(response.statusCode()).isEqualTo(404);
    assertThat(response.headers().firstValue("Content-Type")).hasValue("application/problem+json");
    JsonNode problem = JSON.readTree(response.body());
    assertThat(problem.get("status").asInt()).isEqualTo(404);
    assertThat(problem.get("title").asString()).isEqualTo("Not Found");
    assertThat(problem.has("error")).isFalse();
    assertThat(get("/v1x").headers().firstValue("Content-Type"))
        .hasValue("application/problem+json");
  }

  @Test
  void healthAndMetricsAreServed() throws Exception {
    assertThat(get("/actuator/health/liveness").body()).isEqualTo("{\"status\":\"UP\"}");
    assertThat(get("/actuator/health/readiness").statusCode()).isEqualTo(200);
    assertThat(get("/actuator/prometheus").body()).contains("jvm_memory_used_bytes");
    assertThat(get("/actuator/env").statusCode()).isEqualTo(404);
  }
}
