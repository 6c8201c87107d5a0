package dev.gregale.web;

import java.nio.charset.StandardCharsets;
import java.util.Arrays;
import java.util.List;
import java.util.random.RandomGenerator;

/**
 * A request body that may be right, wrong or no JSON at all.
 *
 * @param path where it is to be sent
 */
public record MutatedRequest(String path, byte[] body) {
  private static final String FULL =
      """
      {"model":"MODEL","prompt":["Once upon","a time"],"best_of":2,"echo":true,
      "frequency_penalty":-0.5,"logit_bias":{"5":-100,"6":1.5},"logprobs":5,"max_tokens":3,"n":1,
      "presence_penalty":2,"seed":-9,"stop":["a","é"],"temperature":0.5,"top_p":0.25,"user":"u",
      "top_k":7,"min_p":0.125,"repetition_penalty":1.5,"min_tokens":3,"ignore_eos":true,
      "stop_token_ids":[4,5],"include_stop_str_in_output":true,"skip_special_tokens":false}""";
  private static final List<String> SEEDS =
      List.of(
          FULL,
          "{\"model\":\"MODEL\",\"prompt\":[[1,5],[7]],\"stream\":true,\"echo\":true,\"logprobs\":1,"
              + "\"stream_options\":{\"include_usage\":true}}",
          "{\"model\":\"MODEL\",\"prompt\":\"Once\",\"n\":2,\"max_tokens\":2,\"prompt_logprobs\":1,"
              + "\"return_token_ids\":true,\"truncate_prompt_tokens\":2,\"response_format\":null}",
          "{\"model\":\"MODEL\",\"prompt\":\"Once\",\"n\":2,\"best_of\":3,\"max_tokens\":2,"
              + "\"use_beam_search\":true,\"length_penalty\":0.5}",
          "{\"model\":\"MODEL\",\"prompt\":\"Once\",\"max_tokens\":2,\"response_format\":"
              + "{\"type\":\"json_schema\",\"json_schema\":{\"name\":\"n\",\"strict\":true,\"schema\":"
              + "{\"type\":[\"object\",\"null\"],\"required\":[\"a\"],\"$defs\":{\"x\":{\"const\":1}},"
              + "\"properties\":{\"a\":{\"anyOf\":[{\"$ref\":\"#/$defs/x\"},{\"enum\":[\"b\",2]}]},"
              + "\"s\":{\"minLength\":1,\"maxLength\":3},\"l\":{\"items\":{\"allOf\":[{}]},\"minItems\":1,"
              + "\"maxItems\":2}},\"additionalProperties\":{\"type\":\"number\"}}}}}",
          "{\"model\":\"MODEL\",\"messages\":[{\"role\":\"system\",\"content\":\"a\"},{\"role\":\"user\","
              + "\"content\":[{\"type\":\"text\",\"text\":\"Once\"}]}],\"max_completion_tokens\":2,"
              + "\"logprobs\":true,\"top_logprobs\":1,\"stream\":true,\"tools\":[],\"tool_choice\":\"none\"}",
          "{\"model\":\"MODEL\",\"messages\":[{\"role\":\"user\",\"content\":\"Once\",\"tool_calls\":[]}],"
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

  /**
   * Takes a good request for that model and spoils it in one to three places.
   *
   * @param random decides where and how
   */
  public static MutatedRequest next(RandomGenerator random, String model) {
    String good = pick(SEEDS, random);
    String path = good.contains("messages") ? "/v1/chat/completions" : "/v1/completions";
    return new MutatedRequest(path, mutate(good.replace("MODEL", model), random));
  }

  @Override
  public String toString() {
    return path + " " + new String(body, StandardCharsets.UTF_8);
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
