package dev.gregale.server;

import static org.assertj.core.api.Assertions.assertThat;

import dev.gregale.GregaleApplication;
import dev.gregale.engine.AsyncLlmEngine;
import dev.gregale.engine.EngineState;
import java.net.URI;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse;
import java.net.http.HttpResponse.BodyHandlers;
import java.time.Duration;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.stream.IntStream;
import org.awaitility.Awaitility;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;
import org.springframework.boot.builder.SpringApplicationBuilder;
import org.springframework.context.ConfigurableApplicationContext;
import tools.jackson.databind.JsonNode;
import tools.jackson.databind.node.ObjectNode;

/**
 * The same replies, to the digit, from a server that caches prefixes and from one that does not.
 */
class PrefixRepliesTest extends RunningServer {
  private static final List<Integer> PROMPT = IntStream.range(300, 380).boxed().toList();
  private static ConfigurableApplicationContext uncached;

  @BeforeAll
  static void startWithoutCache() {
    uncached =
        new SpringApplicationBuilder(GregaleApplication.class)
            .run(
                "--server.port=0",
                "--gregale.engine.max-num-seqs=16",
                "--gregale.engine.enable-prefix-caching=false");
    Awaitility.await()
        .atMost(Duration.ofSeconds(30))
        .until(() -> uncached.getBean(AsyncLlmEngine.class).state() == EngineState.SERVING);
  }

  @AfterAll
  static void stop() {
    uncached.close();
  }

  static List<Map<String, Object>> requests() {
    return List.of(
        Map.of("temperature", 0),
        Map.of("logprobs", 5, "seed", 1),
        Map.of("n", 3, "best_of", 4, "logprobs", 2, "seed", 2),
        Map.of("echo", true, "logprobs", 3, "max_tokens", 0),
        Map.of("echo", true, "logprobs", 3, "seed", 3),
        Map.of("prompt_logprobs", 2, "seed", 4),
        Map.of("echo", true, "seed", 5),
        Map.of("repetition_penalty", 1.2, "no_repeat_ngram_size", 2, "seed", 6));
  }

  @ParameterizedTest
  @MethodSource("requests")
  void repliesAreTheSame(Map<String, Object> parameters) {
    Map<String, Object> request =
        new HashMap<>(Map.of("model", MODEL, "prompt", PROMPT, "max_tokens", 24));
    request.putAll(parameters);
    boolean scored = parameters.containsKey("echo") && parameters.containsKey("logprobs");
    scored |= parameters.containsKey("prompt_logprobs");
    HttpRequest post = post(request, "/v1/completions");
    reply(port, post); // leaves the prompt in the cache
    JsonNode cached = reply(port, post);
    assertThat(cachedTokens(cached)).isEqualTo(scored ? 0 : 64);
    JsonNode plain = reply(uncachedPort(), post);
    assertThat(cachedTokens(plain)).isZero();
    assertThat(withoutOrigin(cached)).isEqualTo(withoutOrigin(plain));
  }

  private static int uncachedPort() {
    return Integer.parseInt(uncached.getEnvironment().getRequiredProperty("local.server.port"));
  }

  private JsonNode reply(int port, HttpRequest request) {
    URI uri = URI.create("http://127.0.0.1:" + port + request.uri().getPath());
    HttpRequest.Builder to = HttpRequest.newBuilder(request, (name, value) -> true).uri(uri);
    HttpResponse<String> answer = client.sendAsync(to.build(), BodyHandlers.ofString()).join();
    assertThat(answer.statusCode()).as(answer.body()).isEqualTo(200);
    return JSON.readTree(answer.body());
  }

  private static int cachedTokens(JsonNode reply) {
    return reply.at("/usage/prompt_tokens_details/cached_tokens").asInt(-1);
  }

  /** What is said, without who said it when, and what it cost. */
  private static JsonNode withoutOrigin(JsonNode reply) {
    ObjectNode said = (ObjectNode) reply;
    said.remove(List.of("id", "created", "usage"));
    return said;
  }
}
