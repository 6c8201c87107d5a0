package dev.gregale.web;

import static org.assertj.core.api.Assertions.assertThat;

import java.net.http.HttpRequest.BodyPublishers;
import java.net.http.HttpResponse;
import org.junit.jupiter.api.Test;
import org.springframework.beans.factory.annotation.Value;
import org.springframework.test.context.TestPropertySource;

/** Keys, a named origin, and metrics for everyone on a port of their own. */
@TestPropertySource(
    properties = {
      "gregale.api.cors-allowed-origins=https://chat.example.com",
      "gregale.api.keys[0].name=page",
      // printf %s abc | sha256sum
      "gregale.api.keys[0].sha256=ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad",
      "gregale.admin.public-metrics=true",
      "server.address=127.0.0.2",
      "management.server.port=0",
      "management.server.address=127.0.0.2"
    })
class CorsTest extends WebTest {
  @Value("${local.management.port}")
  private int managementPort;

  private HttpResponse<String> call(int port, String method, String path, String... headers)
      throws Exception {
    return send(
        java.net.http.HttpRequest.newBuilder(java.net.URI.create("http://127.0.0.2:" + port + path))
            .headers(headers)
            .method(method, BodyPublishers.noBody())
            .build());
  }

  @Test
  void namedOriginsMayCall() throws Exception {
    String[] asked = {
      "Origin", "https://chat.example.com", "Access-Control-Request-Method", "POST"
    };
    HttpResponse<String> preflight = call(port, "OPTIONS", "/v1/completions", asked);
    assertThat(preflight.statusCode()).isEqualTo(200);
    assertThat(preflight.headers().firstValue("Access-Control-Allow-Origin"))
        .hasValue("https://chat.example.com");
    HttpResponse<String> answer =
        call(
            port,
            "GET",
            "/v1/models",
            "Origin",
            "https://chat.example.com",
            "Authorization",
            "Bearer abc");
    assertThat(answer.statusCode()).isEqualTo(200);
    assertThat(answer.headers().firstValue("Access-Control-Allow-Origin"))
        .hasValue("https://chat.example.com");
    asked[1] = "https://evil.example";
    HttpResponse<String> other = call(port, "OPTIONS", "/v1/completions", asked);
    assertThat(other.statusCode()).isEqualTo(403);
    assertThat(other.headers().firstValue("Access-Control-Allow-Origin")).isEmpty();
  }

  /** With keys the configured address is used, and the management port is guarded alike. */
  @Test
  void theManagementPortIsGuarded() throws Exception {
    assertThat(call(managementPort, "GET", "/actuator/health", "X-Any", "x").statusCode())
        .isEqualTo(200);
    assertThat(call(managementPort, "GET", "/actuator/prometheus", "X-Any", "x").statusCode())
        .isEqualTo(200);
    HttpResponse<String> info = call(managementPort, "GET", "/actuator/info", "X-Any", "x");
    assertThat(info.statusCode()).isEqualTo(401);
    HttpResponse<String> forbidden =
        call(managementPort, "GET", "/actuator/info", "Authorization", "Bearer abc");
    assertThat(forbidden.statusCode()).isEqualTo(403);
    assertThat(forbidden.body()).contains("does not open GET /actuator/info");
  }
}
