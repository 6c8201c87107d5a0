package dev.gregale.server;

import static org.assertj.core.api.Assertions.assertThat;

import java.io.InputStream;
import java.net.URI;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse;
import java.net.http.HttpResponse.BodyHandlers;
import java.time.Duration;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.TreeSet;
import org.awaitility.Awaitility;
import org.jspecify.annotations.Nullable;
import org.junit.jupiter.api.Test;
import org.springframework.beans.factory.annotation.Autowired;
import org.springframework.web.bind.annotation.RequestMethod;
import org.springframework.web.reactive.function.server.support.RouterFunctionMapping;
import org.springframework.web.reactive.handler.SimpleUrlHandlerMapping;
import org.springframework.web.reactive.result.method.RequestMappingInfo;
import org.springframework.web.reactive.result.method.RequestMappingInfoHandlerMapping;
import tools.jackson.databind.JsonNode;

/** The whole server with keys: which of them opens what, and how often. */
class SecurityTest extends ServerWithKeys {
  private static final String WRONG = "gk-inferenc";

  @Autowired private List<RequestMappingInfoHandlerMapping> mappings;
  @Autowired private List<SimpleUrlHandlerMapping> resources;
  @Autowired private Map<String, RouterFunctionMapping> functions;

  private enum Access {
    PUBLIC,
    INFERENCE,
    ADMIN
  }

  /** Who may use a pattern. One that this does not know is one that somebody has to think about. */
  private static Access accessOf(String pattern) {
    if (pattern.startsWith("/v1/") || Set.of("/tokenize", "/detokenize").contains(pattern)) {
      return Access.INFERENCE;
    }
    if (pattern.startsWith("/admin/")) {
      return Access.ADMIN;
    }
    if (pattern.startsWith("/swagger-ui/") || pattern.startsWith("/webjars/")) {
      return Access.PUBLIC;
    }
    return switch (pattern) {
      case "/actuator", "/actuator/info", "/actuator/prometheus", "/metrics" -> Access.ADMIN;
      case "/",
          "/health",
          "/actuator/health",
          "/actuator/health/{*path}",
          "/v3/api-docs",
          "/v3/api-docs.yaml",
          "/v3/api-docs/swagger-config",
          "/swagger-ui.html" ->
          Access.PUBLIC;
      default -> throw new AssertionError("who may use " + pattern + "? Say so here");
    };
  }

  @Test
  void everyMappingIsOpenOnlyToThoseItIsMeantFor() {
    int checked = 0;
    for (RequestMappingInfoHandlerMapping mapping : mappings) {
      for (RequestMappingInfo info : mapping.getHandlerMethods().keySet()) {
        Set<RequestMethod> methods = new TreeSet<>(info.getMethodsCondition().getMethods());
        if (methods.isEmpty()) {
          methods.addAll(List.of(RequestMethod.GET, RequestMethod.POST, RequestMethod.DELETE));
        }
        for (String pattern : patterns(info)) {
          for (RequestMethod method : methods) {
            assertAccess(method.name(), pattern);
            checked++;
          }
        }
      }
    }
    assertThat(checked).isGreaterThan(70);
    // Routes that are functions are not walked, so there must be none but the page at "/".
    assertThat(functions).containsKey("routerFunctionMapping");
    functions.forEach(
        (name, m) -> {
          if (!name.equals("welcomePageRouterFunctionMapping")) {
            assertThat(m.getRouterFunction()).as(name).isNull();
          }
        });
  }

  private static Set<String> patterns(RequestMappingInfo info) {
    Set<String> patterns = new TreeSet<>();
    info.getPatternsCondition().getPatterns().forEach(p -> patterns.add(p.getPatternString()));
    return patterns;
  }

  @Test
  void everyStaticResourceIsMeantToBeOpen() {
    Set<String> patterns = new TreeSet<>();
    resources.forEach(mapping -> patterns.addAll(mapping.getUrlMap().keySet()));
    patterns.remove("/**"); // static files of the class path: the rules above decide by path
    for (String pattern : patterns) {
      assertAccess("GET", pattern);
    }
    assertThat(patterns).contains("/webjars/**");
    assertThat(status("GET", "/nothing", null)).isEqualTo(401);
    assertThat(status("GET", "/nothing", INFERENCE)).isEqualTo(403);
    assertThat(status("GET", "/application.yaml", ADMIN)).isEqualTo(403);
  }

  private void assertAccess(String method, String pattern) {
    Access access = accessOf(pattern);
    String path =
        pattern
            .replaceAll("/(\\*\\*|\\{\\*[a-z]+})", "/x")
            .replaceAll("\\{[a-z]+}", "x")
            .replace("*", "");
    String what = method + " " + path;
    assertThat(status(method, path, WRONG)).as("%s with a wrong key", what).isEqualTo(401);
    assertOpen(what, status(method, path, ADMIN), 0);
    switch (access) {
      case PUBLIC -> {
        assertOpen(what, status(method, path, null), 0);
        assertOpen(what, status(method, path, INFERENCE), 0);
      }
      case INFERENCE -> {
        assertOpen(what, status(method, path, null), 401);
        assertOpen(what, status(method, path, INFERENCE), 0);
      }
      case ADMIN -> {
        assertOpen(what, status(method, path, null), 401);
        assertOpen(what, status(method, path, INFERENCE), 403);
      }
    }
  }

  private static void assertOpen(String what, int status, int refusal) {
    if (refusal == 0) {
      assertThat(status).as(what).isNotIn(401, 403);
    } else {
      assertThat(status).as(what).isEqualTo(refusal);
    }
  }

  /** The path that is decided on is the path that is served, however it is spelt. */
  @Test
  void noSpellingOfAnAdminPathOpensItToAnInferenceKey() {
    for (String path :
        List.of(
            "/actuator/prometheus/",
            "/actuator/%70rometheus",
            "/%61ctuator/prometheus",
            "//actuator/prometheus",
            "/v1/..;/actuator/prometheus",
            "/v1/../actuator/prometheus",
            "/v1/%2e%2e/actuator/prometheus",
            "/v1/..%2factuator/prometheus",
            "/actuator;x=/prometheus",
            "/actuator/prometheus;.css",
            "/actuator\\prometheus".replace("\\", "%5c"),
            "/ACTUATOR/prometheus",
            "/actuator/health/../prometheus",
            "/webjars/../actuator/prometheus",
            "/metrics")) {
      HttpResponse<String> answer = send("GET", path, INFERENCE, "");
      assertThat(answer.statusCode()).as(path).isIn(400, 401, 403, 404);
      assertThat(answer.body()).as(path).doesNotContain("jvm_memory");
    }
    assertThat(send("GET", "/actuator/prometheus", ADMIN, "").body()).contains("jvm_memory");
  }

  @Test
  void refusalsAreOpenAisErrors() {
    HttpResponse<String> none = send("POST", "/v1/completions", null, "{}");
    assertThat(none.statusCode()).isEqualTo(401);
    assertThat(none.headers().firstValue("WWW-Authenticate")).hasValue("Bearer realm=\"gregale\"");
    assertThat(error(none).get("code").asString()).isEqualTo("invalid_api_key");
    assertThat(error(none).get("message").asString()).startsWith("No API key was given");
    HttpResponse<String> wrong = send("POST", "/v1/completions", WRONG, "{}");
    assertThat(error(wrong).get("message").asString()).doesNotContain(WRONG);
    assertThat(wrong.headers().firstValue("X-Request-Id")).isPresent();
    HttpRequest basic =
        HttpRequest.newBuilder(URI.create("http://127.0.0.1:" + port + "/v1/models"))
            .header("Authorization", "Basic " + INFERENCE)
            .build();
    assertThat(client.sendAsync(basic, BodyHandlers.ofString()).join().statusCode()).isEqualTo(401);
    HttpResponse<String> admin = send("GET", "/admin/anything", INFERENCE, "");
    assertThat(admin.statusCode()).isEqualTo(403);
    assertThat(admin.headers().firstValue("Content-Type")).hasValue("application/problem+json");
  }

  @Test
  void aKeyCompletes() {
    String body = JSON.writeValueAsString(completion(4));
    for (String key : List.of(INFERENCE, ADMIN)) {
      HttpResponse<String> answer = send("POST", "/v1/completions", key, body);
      assertThat(answer.statusCode()).as(answer.body()).isEqualTo(200);
    }
  }

  @Test
  void requestsPerMinuteAreLimited() {
    List<Integer> statuses = new ArrayList<>();
    HttpResponse<String> last = null;
    for (int i = 0; i < 4; i++) {
      last = send("GET", "/v1/models", RARE, "");
      statuses.add(last.statusCode());
    }
    assertThat(statuses).containsExactly(200, 200, 200, 429);
    assertThat(error(last).get("code").asString()).isEqualTo("rate_limit_exceeded");
    assertThat(error(last).get("type").asString()).isEqualTo("rate_limit_error");
    int retryAfter = Integer.parseInt(last.headers().firstValue("Retry-After").orElseThrow());
    assertThat(retryAfter).isBetween(1, 20);
    HttpResponse<String> other = send("GET", "/v1/models", INFERENCE, "");
    assertThat(other.statusCode()).isEqualTo(200);
  }

  /** A stream counts until its end, also if that is its client's going away. */
  @Test
  void concurrentRequestsAreLimited() throws Exception {
    Map<String, Object> endless = completion(4000);
    endless.put("ignore_eos", true);
    endless.put("stream", true);
    HttpRequest request =
        HttpRequest.newBuilder(post(endless, "/v1/completions"), (name, value) -> true)
            .header("Authorization", "Bearer " + SINGLE)
            .build();
    HttpResponse<InputStream> stream = client.send(request, BodyHandlers.ofInputStream());
    assertThat(stream.statusCode()).isEqualTo(200);
    HttpResponse<String> second = send("GET", "/v1/models", SINGLE, "");
    assertThat(second.statusCode()).isEqualTo(429);
    assertThat(error(second).get("code").asString()).isEqualTo("concurrency_limit_exceeded");
    assertThat(second.headers().firstValue("Retry-After")).hasValue("1");
    stream.body().close();
    Awaitility.await()
        .atMost(Duration.ofSeconds(5))
        .until(() -> send("GET", "/v1/models", SINGLE, "").statusCode() == 200);
  }

  private static Map<String, Object> completion(int maxTokens) {
    Map<String, Object> request = new HashMap<>();
    request.put("model", MODEL);
    request.put("prompt", "Once");
    request.put("max_tokens", maxTokens);
    return request;
  }

  private static JsonNode error(HttpResponse<String> answer) {
    JsonNode error = JSON.readTree(answer.body()).get("error");
    assertThat(error.propertyNames()).containsExactly("message", "type", "param", "code");
    return error;
  }

  private int status(String method, String path, @Nullable String key) {
    return send(method, path, key, method.equals("POST") ? "{}" : "").statusCode();
  }

  @Test
  void thePlaygroundConvertsForAdministrators() throws Exception {
    Playground.run(port, "conversionByKey", line -> {}, INFERENCE, ADMIN);
  }
}
