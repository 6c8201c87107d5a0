package dev.gregale.web;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.io.IOException;
import java.net.Socket;
import java.net.http.HttpResponse;
import java.nio.charset.StandardCharsets;
import org.junit.jupiter.api.Test;
import org.springframework.beans.factory.annotation.Value;
import org.springframework.test.context.TestPropertySource;

/** A server without keys, told to listen everywhere, with a management port. */
@TestPropertySource(
    properties = {
      "server.address=0.0.0.0",
      "management.server.port=0",
      "management.server.address=0.0.0.0"
    })
class HardeningTest extends WebTest {
  @Value("${local.management.port}")
  private int managementPort;

  /** On Linux every address from 127.0.0.1 on is this machine, but only one is listened on. */
  @Test
  void withoutKeysOnlyLoopbackIsListenedOn() throws Exception {
    for (int each : new int[] {port, managementPort}) {
      new Socket("127.0.0.1", each).close();
      assertThatThrownBy(() -> new Socket("127.0.0.2", each).close())
          .isInstanceOf(IOException.class);
    }
  }

  @Test
  void theActuatorIsOnItsOwnPort() throws Exception {
    assertThat(get("/actuator/health").statusCode()).isEqualTo(404);
    assertThat(raw(managementPort, "/actuator/health/liveness", "localhost"))
        .startsWith("HTTP/1.1 200")
        .contains("X-Request-Id:");
  }

  /** A web page may give this machine's address a name of its own, and then call it by that. */
  @Test
  void otherNamesOfThisMachineAreRefused() throws Exception {
    for (String host : new String[] {"localhost", "127.0.0.1:" + port, "app.localhost", "[::1]"}) {
      assertThat(raw(port, "/v1/models", host)).as(host).startsWith("HTTP/1.1 200");
    }
    for (String host :
        new String[] {"evil.example", "127.0.0.1.evil.example", "localhost.evil", "192.168.1.1"}) {
      String answer = raw(port, "/v1/models", host);
      assertThat(answer).as(host).startsWith("HTTP/1.1 400").contains("malformed_request");
      assertThat(raw(managementPort, "/actuator/health", host)).startsWith("HTTP/1.1 400");
    }
  }

  @Test
  void everyAnswerHasTheSecurityHeaders() throws Exception {
    for (String path :
        new String[] {
          "/v1/models", "/v1/nothing", "/v1//x", "/nothing", "/swagger-ui/index.html"
        }) {
      HttpResponse<String> answer = get(path);
      assertThat(answer.headers().firstValue("X-Content-Type-Options")).hasValue("nosniff");
      assertThat(answer.headers().firstValue("X-Frame-Options")).hasValue("DENY");
      assertThat(answer.headers().firstValue("Referrer-Policy")).hasValue("no-referrer");
      assertThat(answer.headers().firstValue("Cache-Control").orElseThrow()).contains("no-store");
      assertThat(answer.headers().firstValue("Content-Security-Policy").orElseThrow())
          .startsWith("default-src 'self';")
          .doesNotContain("unsafe-eval")
          .doesNotContain("script-src");
      assertThat(answer.headers().firstValue("Server")).isEmpty();
    }
  }

  /** Nor does any other page's script learn anything, since CORS is off. */
  @Test
  void otherOriginsAreNotAllowed() throws Exception {
    HttpResponse<String> answer =
        send(request("/v1/models").header("Origin", "https://evil.example").build());
    assertThat(answer.headers().firstValue("Access-Control-Allow-Origin")).isEmpty();
    HttpResponse<String> preflight =
        send(
            request("/v1/completions")
                .header("Origin", "https://evil.example")
                .header("Access-Control-Request-Method", "POST")
                .method("OPTIONS", java.net.http.HttpRequest.BodyPublishers.noBody())
                .build());
    assertThat(preflight.headers().firstValue("Access-Control-Allow-Origin")).isEmpty();
  }

  @Test
  void largeHeadersAreRefused() throws Exception {
    String answer = raw(port, "/v1/models", "localhost\r\nX-Large: " + "x".repeat(20_000));
    assertThat(answer).matches("(?s)HTTP/1.1 4(13|31) .*");
    String long_ = raw(port, "/v1/models?x=" + "x".repeat(20_000), "localhost");
    assertThat(long_).matches("(?s)HTTP/1.1 4(13|14|31) .*");
  }

  private static String raw(int port, String path, String host) throws IOException {
    try (Socket socket = new Socket("127.0.0.1", port)) {
      socket.setSoTimeout(5_000);
      String head = "GET " + path + " HTTP/1.1\r\nHost: " + host + "\r\nConnection: close\r\n\r\n";
      socket.getOutputStream().write(head.getBytes(StandardCharsets.US_ASCII));
      return new String(socket.getInputStream().readAllBytes(), StandardCharsets.UTF_8);
    }
  }
}
