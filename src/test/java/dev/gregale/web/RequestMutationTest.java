package dev.gregale.web;

import static org.assertj.core.api.Assertions.assertThat;

import java.net.http.HttpRequest;
import java.net.http.HttpRequest.BodyPublishers;
import java.net.http.HttpResponse;
import java.net.http.HttpResponse.BodyHandlers;
import java.nio.charset.StandardCharsets;
import java.util.ArrayDeque;
import java.util.Arrays;
import java.util.List;
import java.util.Queue;
import java.util.concurrent.CompletableFuture;
import java.util.random.RandomGenerator;
import java.util.random.RandomGeneratorFactory;
import org.junit.jupiter.api.Test;

/** Whatever a client sends costs it a 4xx with an error object at worst, never a 5xx. */
class RequestMutationTest extends WebTest {
  private static final int MUTANTS = 3_000;
  private static final int IN_FLIGHT = 16;
  private static final String FULL =
      """
      {"model":"stub","prompt":["Once upon","a time"],"best_of":2,"echo":true,
      "frequency_penalty":-0.5,"logit_bias":{"5":-100,"6":1.5},"logprobs":5,"max_tokens":3,"n":1,
      "presence_penalty":2,"seed":-9,"stop":["a","é"],"temperature":0.5,"top_p":0.25,"user":"u",
      "top_k":7,"min_p":0.125,"repetition_penalty":1.5,"min_tokens":3,"ignore_eos":true,
      "stop_token_ids":[4,5],"include_stop_str_in_output":true,"skip_special_tokens":false}""";
  private static final List<String> SEEDS =
      List.of(
          FULL,
          "{\"model\":\"stub\",\"prompt\":[[1,5],[7]],\"stream\":true,\"echo\":true,\"logprobs\":1,"
              + "\"stream_options\":{\"include_usage\":true}}",
          "{\"model\":\"stub\",\"prompt\":\"Once\",\"n\":2,\"max_tokens\":2,\"prompt_logprobs\":1,"
              + "\"return_token_ids\":true,\"truncate_prompt_tokens\":2,\"response_format\":null}",
          "{\"model\":\"stub\",\"messages\":[{\"role\":\"system\",\"content\":\"a\"},{\"role\":\"user\","
              + "\"content\":[{\"type\":\"text\",\"text\":\"Once\"}]}],\"max_completion_tokens\":2,"
              + "\"logprobs\":true,\"top_logprobs\":1,\"stream\":true,\"tools\":[],\"tool_choice\":\"none\"}",
          "{\"model\":\"stub\",\"messages\":[{\"role\":\"user\",\"content\":\"Once\",\"tool_calls\":[]}],"
              + "\"max_tokens\":2,\"n\":2,\"return_token_ids\":true,\"response_format\":{\"type\":\"text\"}}");
  private static final List<String> PIECES =
      List.of(
          "null",
          "true",
          "-1",
          "0",
          "1e999",
          "-0.0",
          "NaN",
          "\"\"",
          "\"\\ud800\"",
          "[]",
          "{}",
          "[[]]",
          "[[[[1]]]]",
          "99999999999999999999",
          "1.5",
          "\"\\u0000\"",
          "[null]",
          "{\"a\":{}}",
          "2147483647",
          "-2147483648",
          "9223372036854775807",
          "\"NaN\"",
          "[1,\"x\"]",
          "\u2028",
          "\\");

  @Test
  void noBodyCausesAServerError() throws Exception {
    long seed = Long.getLong("gregale.test.seed", 20_261_123L);
    RandomGenerator random = RandomGeneratorFactory.of("L64X128MixRandom").create(seed);
    Queue<Call> calls = new ArrayDeque<>();
    int accepted = 0;
    for (int i = 0; i < MUTANTS; i++) {
      String good = pick(SEEDS, random);
      byte[] body = mutate(good, random);
      HttpRequest request =
          request(good.contains("messages") ? "/v1/chat/completions" : "/v1/completions")
              .header("Content-Type", "application/json")
              .POST(BodyPublishers.ofByteArray(body))
              .build();
      calls.add(new Call(i, body, CLIENT.sendAsync(request, BodyHandlers.ofString())));
      if (calls.size() >= IN_FLIGHT) {
        accepted += check(calls.remove(), seed) ? 1 : 0;
      }
    }
    while (!calls.isEmpty()) {
      accepted += check(calls.remove(), seed) ? 1 : 0;
    }
    // Neither all nor none: else the mutator tests nothing.
    assertThat(accepted).as("accepted, seed %d", seed).isBetween(MUTANTS / 50, MUTANTS * 9 / 10);
  }

  private record Call(int number, byte[] body, CompletableFuture<HttpResponse<String>> answer) {}

  private static boolean check(Call call, long seed) throws Exception {
    HttpResponse<String> response = call.answer().get();
    String what =
        "seed %d, mutant %d: %s answered %d %s"
            .formatted(
                seed,
                call.number(),
                new String(call.body(), StandardCharsets.UTF_8),
                response.statusCode(),
                response.body());
    if (response.statusCode() == 200) {
      assertThat(response.body()).as(what).doesNotContain("\"error\"");
      return true;
    }
    assertThat(response.statusCode()).as(what).isIn(400, 404);
    assertThat(error(response).get("message").asString()).as(what).isNotBlank();
    return false;
  }

  private static byte[] mutate(String seed, RandomGenerator random) {
    String text = seed;
    for (int times = random.nextInt(1, 4); times > 0; times--) {
      text =
          switch (random.nextInt(5)) {
            case 0 -> replaceValue(text, random);
            case 1 -> cut(text, random);
            case 2 -> insert(text, pick(PIECES, random), random);
            case 3 -> insert(text, "" + (char) random.nextInt(0x20, 0x3000), random);
            default -> replaceValue(text, random);
          };
    }
    byte[] bytes = text.getBytes(StandardCharsets.UTF_8);
    if (random.nextInt(10) == 0 && bytes.length > 0) {
      bytes[random.nextInt(bytes.length)] = (byte) random.nextInt(256);
    }
    return random.nextInt(20) == 0 ? Arrays.copyOf(bytes, random.nextInt(bytes.length + 1)) : bytes;
  }

  /** Puts another value behind one of the colons. */
  private static String replaceValue(String text, RandomGenerator random) {
    int colon = text.indexOf(':', random.nextInt(text.length() + 1));
    if (colon < 0) {
      return text;
    }
    int end = colon + 1;
    while (end < text.length() && ",}".indexOf(text.charAt(end)) < 0) {
      end++;
    }
    return text.substring(0, colon + 1) + pick(PIECES, random) + text.substring(end);
  }

  private static String cut(String text, RandomGenerator random) {
    int from = random.nextInt(text.length() + 1);
    int to = Math.min(text.length(), from + random.nextInt(1, 12));
    return text.substring(0, from) + text.substring(to);
  }

  private static String insert(String text, String piece, RandomGenerator random) {
    int at = random.nextInt(text.length() + 1);
    return text.substring(0, at) + piece + text.substring(at);
  }

  private static String pick(List<String> list, RandomGenerator random) {
    return list.get(random.nextInt(list.size()));
  }
}
