package com.example.tales;

import java.util.Map;
import org.junit.jupiter.api.Test;
import org.springframework.beans.factory.annotation.Autowired;
import org.springframework.boot.test.context.SpringBootTest;
import org.springframework.boot.test.context.SpringBootTest.WebEnvironment;
import org.springframework.boot.webtestclient.autoconfigure.AutoConfigureWebTestClient;
import org.springframework.http.HttpStatus;
import org.springframework.test.web.reactive.server.WebTestClient;

/** The model's routes are served under the application's rules, and its own routes stay its own. */
@SpringBootTest(webEnvironment = WebEnvironment.RANDOM_PORT)
@AutoConfigureWebTestClient
class TaleServiceTest {
  @Autowired private WebTestClient client;

  private WebTestClient.ResponseSpec complete(Map<String, Object> request) {
    return client
        .post()
        .uri("/v1/completions")
        .headers(headers -> headers.setBasicAuth("reader", "letmein"))
        .bodyValue(request)
        .exchange();
  }

  @Test
  void completes() {
    complete(Map.of("model", "fairytale-moe-7m", "prompt", "Once upon a time", "temperature", 0))
        .expectStatus()
        .isOk()
        .expectBody()
        .jsonPath("$.choices[0].text")
        .isEqualTo(" there was a man who had a son who went to seek his fortune. And");
  }

  @Test
  void asksItsOwnSecurityWhoMayCall() {
    client.get().uri("/v1/models").exchange().expectStatus().isUnauthorized();
  }

  @Test
  void tellsErrorsOfTheModelsRoutesAsOpenAiDoes() {
    complete(Map.of("model", "fairytale-moe-7m", "prompt", "x", "temperature", -1))
        .expectStatus()
        .isBadRequest()
        .expectBody()
        .jsonPath("$.error.param")
        .isEqualTo("temperature");
  }

  @Test
  void leavesOtherRoutesAlone() {
    client.get().uri("/motto").exchange().expectBody(String.class).isEqualTo("Once upon a time");
    client
        .get()
        .uri("/nothing")
        .exchange()
        .expectStatus()
        .isEqualTo(HttpStatus.NOT_FOUND)
        .expectBody()
        .jsonPath("$.path") // Spring Boot's own error object
        .isEqualTo("/nothing");
    client.get().uri("/admin/convert").exchange().expectStatus().isNotFound();
  }
}
