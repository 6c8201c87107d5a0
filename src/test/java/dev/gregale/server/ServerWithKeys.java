package dev.gregale.server;

import dev.gregale.security.ApiKeys;
import java.net.URI;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse;
import java.net.http.HttpResponse.BodyHandlers;
import java.nio.file.Path;
import java.util.HexFormat;
import java.util.List;
import org.jspecify.annotations.Nullable;
import org.springframework.test.context.DynamicPropertyRegistry;
import org.springframework.test.context.DynamicPropertySource;

/** The whole server with keys. One server for all test classes. */
abstract class ServerWithKeys extends RunningServer {
  static final String INFERENCE = "gk-inference";
  static final String ADMIN = "gk-admin";
  static final String RARE = "gk-three-a-minute";
  static final String SINGLE = "gk-one-at-a-time";
  static final String OTHER = "gk-other";

  @DynamicPropertySource
  static void keys(DynamicPropertyRegistry registry) {
    List<String> inference = List.of(INFERENCE, RARE, SINGLE, OTHER);
    for (int i = 0; i < inference.size(); i++) {
      String key = inference.get(i);
      registry.add("gregale.api.keys[" + i + "].name", () -> key.substring(3));
      registry.add("gregale.api.keys[" + i + "].sha256", () -> sha256(key));
    }
    registry.add("gregale.api.keys[1].requests-per-minute", () -> 3);
    registry.add("gregale.api.keys[2].max-concurrent-requests", () -> 1);
    registry.add(
        "gregale.convert.roots", () -> Path.of("target").toAbsolutePath().toString()); // else 403
    registry.add("gregale.admin.keys[0].name", () -> "root");
    registry.add("gregale.admin.keys[0].sha256", () -> sha256(ADMIN));
  }

  private static String sha256(String key) {
    return HexFormat.of().formatHex(ApiKeys.sha256(key));
  }

  HttpResponse<String> send(String method, String path, @Nullable String key, String body) {
    HttpRequest.Builder request =
        HttpRequest.newBuilder(URI.create("http://127.0.0.1:" + port + path))
            .header("Content-Type", "application/json")
            .method(method, HttpRequest.BodyPublishers.ofString(body));
    if (key != null) {
      request.header("Authorization", "Bearer " + key);
    }
    return client.sendAsync(request.build(), BodyHandlers.ofString()).join();
  }
}
