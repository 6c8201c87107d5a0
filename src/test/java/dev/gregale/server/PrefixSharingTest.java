package dev.gregale.server;

import static org.assertj.core.api.Assertions.assertThat;

import java.net.http.HttpResponse;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.stream.IntStream;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import tools.jackson.databind.JsonNode;

/** Whose requests share computed prefixes: those of one key, however they are sent. */
class PrefixSharingTest extends ServerWithKeys {
  private static final int PROMPT_TOKENS = 100;
  private static final int CACHED_TOKENS = 96; // whole blocks of 16

  /**
   * @param firstToken so that no two prompts begin alike
   */
  @ParameterizedTest
  @CsvSource({"false, 100", "true, 200"})
  void hitsStayWithinAKey(boolean stream, int firstToken) {
    assertThat(cachedTokens(INFERENCE, firstToken, stream)).isZero();
    assertThat(cachedTokens(INFERENCE, firstToken, stream)).isEqualTo(CACHED_TOKENS);
    assertThat(cachedTokens(OTHER, firstToken, stream)).isZero();
    assertThat(cachedTokens(OTHER, firstToken, stream)).isEqualTo(CACHED_TOKENS);
    assertThat(cachedTokens(ADMIN, firstToken, stream)).isZero();
    assertThat(cachedTokens(INFERENCE, firstToken, stream)).isEqualTo(CACHED_TOKENS);
  }

  private int cachedTokens(String key, int firstToken, boolean stream) {
    List<Integer> prompt = IntStream.range(firstToken, firstToken + PROMPT_TOKENS).boxed().toList();
    Map<String, Object> request = new HashMap<>(Map.of("model", MODEL, "prompt", prompt));
    if (stream) {
      request.put("stream", true);
      request.put("stream_options", Map.of("include_usage", true));
    }
    HttpResponse<String> answer =
        send("POST", "/v1/completions", key, JSON.writeValueAsString(request));
    assertThat(answer.statusCode()).as(answer.body()).isEqualTo(200);
    String[] frames = answer.body().strip().split("\n\n");
    String last = stream ? frames[frames.length - 2].substring("data: ".length()) : answer.body();
    JsonNode usage = JSON.readTree(last).get("usage");
    assertThat(usage.get("prompt_tokens").asInt()).isEqualTo(PROMPT_TOKENS);
    return usage.at("/prompt_tokens_details/cached_tokens").asInt(-1);
  }
}
