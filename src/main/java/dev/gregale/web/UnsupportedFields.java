package dev.gregale.web;

import java.util.Map;
import java.util.Set;
import java.util.stream.Collectors;
import tools.jackson.databind.JsonNode;
import tools.jackson.databind.json.JsonMapper;

/**
 * Fields of OpenAI and vLLM that would change the answer but are not served. They are refused, for
 * an answer that ignores them would be wrong; fields without such an effect are ignored.
 */
final class UnsupportedFields {

  /** The values of each field that ask for nothing, beside null. */
  private static final Map<String, Set<JsonNode>> HARMLESS =
      Map.ofEntries(
          // OpenAI's
          harmless("tools", "[]"),
          harmless("tool_choice", "'none'"),
          harmless("functions", "[]"),
          harmless("function_call", "'none'"),
          harmless("tool_calls", "[]"),
          harmless("modalities", "['text']"),
          harmless("audio"),
          harmless("web_search_options"),
          // vLLM's
          harmless("early_stopping", "false"),
          harmless("structured_outputs"),
          harmless("guided_json"),
          harmless("guided_regex"),
          harmless("guided_choice"),
          harmless("guided_grammar"),
          harmless("logits_processors", "[]"),
          harmless("allowed_token_ids"),
          harmless("bad_words", "[]"),
          harmless("logprob_token_ids"),
          harmless("return_tokens_as_token_ids", "false"),
          harmless("truncation_side", "'left'"),
          harmless("prompt_embeds"),
          harmless("chat_template"),
          harmless("chat_template_kwargs", "{}"),
          harmless("documents", "[]"),
          harmless("continue_final_message", "false"));

  private UnsupportedFields() {}

  /**
   * Refuses those there are with a 400.
   *
   * @param where of the object that holds them, as in {@code "messages[1]."}; empty for the body
   * @param param what the error names; the field itself where empty
   */
  static void check(String where, String param, Map<String, JsonNode> fields) {
    fields.forEach(
        (name, value) -> {
          Set<JsonNode> harmless = HARMLESS.get(name);
          if (harmless != null && !value.isNull() && !harmless.contains(value)) {
            throw ApiException.badRequest(
                param.isEmpty() ? name : param,
                where + name + " is not supported by this server; leave it out" + orGive(harmless));
          }
        });
  }

  private static String orGive(Set<JsonNode> harmless) {
    return harmless.stream().map(value -> " or give " + value).collect(Collectors.joining());
  }

  private static Map.Entry<String, Set<JsonNode>> harmless(String field, String... values) {
    return Map.entry(
        field,
        Set.of(values).stream()
            .map(value -> JsonMapper.shared().readTree(value.replace('\'', '"')))
            .collect(Collectors.toUnmodifiableSet()));
  }
}
