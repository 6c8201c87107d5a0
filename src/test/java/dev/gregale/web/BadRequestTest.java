package dev.gregale.web;

import static org.assertj.core.api.Assertions.assertThat;
import static org.junit.jupiter.api.DynamicTest.dynamicTest;

import java.net.http.HttpResponse;
import java.util.List;
import java.util.stream.Stream;
import org.junit.jupiter.api.DynamicTest;
import org.junit.jupiter.api.TestFactory;
import tools.jackson.databind.JsonNode;

/** What the API refuses, and what it says about it. */
class BadRequestTest extends WebTest {

  /** Fields in addition to a model and a prompt; a field given again replaces those. */
  private record Bad(String fields, String param, String message) {}

  private static final List<Bad> FIELDS =
      List.of(
          // Wrong types: nothing is taken for something else.
          new Bad(
              "'max_tokens': '16'",
              "max_tokens",
              "must be an integer of 32 bits, but is the string '16'"),
          new Bad(
              "'max_tokens': 1.5",
              "max_tokens",
              "max_tokens must be an integer of 32 bits, but is 1.5"),
          new Bad("'max_tokens': 16.0", "max_tokens", "but is 16.0"),
          new Bad("'max_tokens': true", "max_tokens", "but is true"),
          new Bad("'max_tokens': [1]", "max_tokens", "but is an array"),
          new Bad("'max_tokens': {}", "max_tokens", "but is an object"),
          new Bad("'max_tokens': ''", "max_tokens", "but is the string ''"),
          new Bad(
              "'max_tokens': 99999999999",
              "max_tokens",
              "must be an integer of 32 bits, but is 99999999999"),
          new Bad("'n': '1'", "n", "n must be an integer"),
          new Bad("'n': 1e0", "n", "n must be an integer"),
          new Bad("'best_of': false", "best_of", "best_of must be an integer"),
          new Bad("'echo': 1", "echo", "echo must be true or false, but is 1"),
          new Bad("'echo': 'true'", "echo", "echo must be true or false, but is the string 'true'"),
          new Bad("'stream': 'yes'", "stream", "stream must be true or false"),
          new Bad("'stream': 0", "stream", "stream must be true or false"),
          new Bad("'logprobs': true", "logprobs", "logprobs must be an integer"),
          new Bad(
              "'temperature': '1'",
              "temperature",
              "temperature must be a number, but is the string '1'"),
          new Bad("'temperature': 'NaN'", "temperature", "temperature must be"),
          new Bad(
              "'temperature': true", "temperature", "temperature must be a number, but is true"),
          new Bad("'top_p': []", "top_p", "top_p must be a number, but is an array"),
          new Bad("'seed': 1.5", "seed", "seed must be an integer of 64 bits, but is 1.5"),
          new Bad("'seed': 9223372036854775808", "seed", "seed must be an integer of 64 bits"),
          new Bad("'user': 7", "user", "user must be a string, but is 7"),
          new Bad("'model': 7", "model", "model must be a string, but is 7"),
          new Bad("'model': ['stub']", "model", "model must be a string, but is an array"),
          new Bad("'stop': 7", "stop", "must be a string, but is 7"),
          new Bad("'stop': ['a', 7]", "stop", "stop[1] must be a string, but is 7"),
          new Bad("'stop': {'a': 1}", "stop", "but is an object"),
          new Bad(
              "'stream_options': 'usage'", "stream_options", "stream_options must be an object"),
          new Bad("'stream_options': []", "stream_options", "stream_options must be an object"),
          new Bad(
              "'stream': true, 'stream_options': {'include_usage': 1}",
              "stream_options",
              "stream_options.include_usage must be true or false, but is 1"),
          new Bad(
              "'stream': true, 'stream_options': {'include_obfuscation': 'x'}",
              "stream_options",
              "stream_options.include_obfuscation must be"),
          new Bad(
              "'logit_bias': []", "logit_bias", "logit_bias must be an object, but is an array"),
          new Bad(
              "'logit_bias': {'5': 'x'}",
              "logit_bias",
              "logit_bias.5 must be a number, but is the string 'x'"),
          new Bad("'top_k': 1.5", "top_k", "top_k must be an integer"),
          new Bad("'min_tokens': 'x'", "min_tokens", "min_tokens must be an integer"),
          new Bad("'ignore_eos': 1", "ignore_eos", "ignore_eos must be true or false"),
          new Bad("'stop_token_ids': 5.5", "stop_token_ids", "must be"),
          new Bad(
              "'stop_token_ids': ['5']", "stop_token_ids", "stop_token_ids[0] must be an integer"),
          // Out of range.
          new Bad(
              "'max_tokens': -1", "max_tokens", "max_tokens must be between 0 and 64, but is -1"),
          new Bad(
              "'max_tokens': 65", "max_tokens", "max_tokens must be between 0 and 64, but is 65"),
          new Bad("'n': 0", "n", "n must be between 1 and 128, but is 0"),
          new Bad("'n': -3", "n", "n must be between 1 and 128, but is -3"),
          new Bad("'n': 129", "n", "n must be between 1 and 128, but is 129"),
          new Bad("'n': 17", "n", "A request may have 16 sequences, but this one asks for 17"),
          new Bad(
              "'n': 3, 'best_of': 2", "best_of", "best_of must be between n (3) and 20, but is 2"),
          new Bad("'best_of': 0", "best_of", "best_of must be between n (1) and 20, but is 0"),
          new Bad("'best_of': 21", "best_of", "best_of must be between n (1) and 20, but is 21"),
          new Bad("'best_of': 17", "n", "A request may have 16 sequences"),
          new Bad("'best_of': 2, 'stream': true", "best_of", "best_of above n cannot be streamed"),
          new Bad("'logprobs': -1", "logprobs", "logprobs must be between 0 and 5, but is -1"),
          new Bad("'logprobs': 6", "logprobs", "logprobs must be between 0 and 5, but is 6"),
          new Bad(
              "'temperature': -0.1",
              "temperature",
              "temperature must be between 0 and 2, but is -0.1"),
          new Bad(
              "'temperature': 2.01",
              "temperature",
              "temperature must be between 0 and 2, but is 2.01"),
          new Bad(
              "'temperature': 1e400",
              "temperature",
              "temperature must be between 0 and 2, but is Infinity"),
          new Bad("'top_p': -0.5", "top_p", "top_p must be between 0 and 1, but is -0.5"),
          new Bad("'top_p': 1.5", "top_p", "top_p must be between 0 and 1, but is 1.5"),
          new Bad(
              "'frequency_penalty': 2.5",
              "frequency_penalty",
              "must be between -2 and 2, but is 2.5"),
          new Bad(
              "'presence_penalty': -2.5",
              "presence_penalty",
              "must be between -2 and 2, but is -2.5"),
          new Bad(
              "'repetition_penalty': 0",
              "repetition_penalty",
              "must be between 0.01 and 100, but is 0.0"),
          new Bad("'repetition_penalty': -1", "repetition_penalty", "must be between 0.01 and 100"),
          new Bad("'min_p': 1.1", "min_p", "min_p must be between 0 and 1, but is 1.1"),
          new Bad("'top_k': -2", "top_k", "top_k must be between -1 and 2147483647, but is -2"),
          new Bad(
              "'min_tokens': 17", "min_tokens", "min_tokens must be between 0 and 16, but is 17"),
          new Bad(
              "'min_tokens': -1", "min_tokens", "min_tokens must be between 0 and 16, but is -1"),
          new Bad(
              "'n': 16, 'max_tokens': 26",
              "max_tokens",
              "A request may generate 400 tokens, but this one asks for 416"),
          new Bad(
              "'logit_bias': {'5': 101}",
              "logit_bias",
              "logit_bias must be between -100 and 100, but is 101.0"),
          new Bad(
              "'logit_bias': {'5': null}",
              "logit_bias",
              "logit_bias must hold numbers, but has a null"),
          new Bad(
              "'logit_bias': {'320': 1}",
              "logit_bias",
              "logit_bias has token id 320, but the model's token ids run from 0 to 319"),
          new Bad(
              "'logit_bias': {'-1': 1}",
              "logit_bias",
              "logit_bias must have token ids as keys, but has '-1'"),
          new Bad(
              "'logit_bias': {'the': 1}",
              "logit_bias",
              "logit_bias must have token ids as keys, but has 'the'"),
          new Bad("'logit_bias': {'99999999999': 1}", "logit_bias", "must have token ids as keys"),
          new Bad(
              "'stop': ['1', '2', '3', '4', '5']", "stop", "stop may have 4 entries, but has 5"),
          new Bad(
              "'stop': ''",
              "stop",
              "stop must hold strings of 1 to 1000 characters, but has one of 0"),
          new Bad(
              "'stop': ['a', null]",
              "stop",
              "stop must hold strings of 1 to 1000 characters, but has a null"),
          new Bad("'stop': '" + "x".repeat(1001) + "'", "stop", "but has one of 1001"),
          new Bad("'stop_token_ids': [320]", "stop_token_ids", "stop_token_ids has token id 320"),
          new Bad("'stop_token_ids': [-1]", "stop_token_ids", "stop_token_ids has token id -1"),
          new Bad("'stop_token_ids': [null]", "stop_token_ids", "stop_token_ids"),
          new Bad(
              "'stop_token_ids': [" + "1, ".repeat(128) + "1]",
              "stop_token_ids",
              "may have 128 entries, but has 129"),
          // Not supported, or only together.
          new Bad("'suffix': 'end'", "suffix", "suffix is not supported"),
          new Bad(
              "'stream_options': {'include_usage': true}",
              "stream_options",
              "allowed only with stream: true"),
          new Bad(
              "'use_beam_search': true, 'stream': true",
              "use_beam_search",
              "use_beam_search cannot be streamed"),
          new Bad("'use_beam_search': true, 'n': 11", "n", "may have 10 beams, but n is 11"),
          new Bad(
              "'use_beam_search': true, 'best_of': 11",
              "best_of",
              "may have 10 beams, but best_of is 11"),
          new Bad("'use_beam_search': true, 'max_tokens': 0", "use_beam_search", "at least one"),
          new Bad(
              "'use_beam_search': true, 'stop': 'x'",
              "stop",
              "stop does not go with use_beam_search; leave one of them out"),
          new Bad(
              "'use_beam_search': true, 'logit_bias': {'3': 1}",
              "logit_bias",
              "logit_bias does not go with use_beam_search"),
          new Bad(
              "'use_beam_search': true, 'response_format': {'type': 'json_object'}",
              "response_format",
              "response_format does not go with use_beam_search"),
          new Bad(
              "'use_beam_search': true, 'length_penalty': 11",
              "length_penalty",
              "length_penalty must be between -10 and 10"),
          new Bad("'early_stopping': true", "early_stopping", "is not supported"),
          new Bad(
              "'response_format': {'type': 'json'}",
              "response_format",
              "must be text, json_object or json_schema, but is 'json'"),
          new Bad("'response_format': {}", "response_format", "but is missing"),
          new Bad("'response_format': 'json'", "response_format", "must be an object"),
          new Bad(
              "'response_format': {'type': 'json_object'}, 'min_tokens': 1",
              "min_tokens",
              "min_tokens does not go with response_format"),
          new Bad(
              "'response_format': {'type': 'json_object'}, 'ignore_eos': true",
              "ignore_eos",
              "ignore_eos does not go with response_format"),
          new Bad(
              "'response_format': {'type': 'json_object'}, 'no_repeat_ngram_size': 2",
              "no_repeat_ngram_size",
              "no_repeat_ngram_size does not go with response_format"),
          new Bad(
              "'priority': -1",
              "priority",
              "priority is -1, but this server serves requests as they come; leave it out or give 0"),
          new Bad("'allowed_token_ids': [1]", "allowed_token_ids", "is not supported"),
          new Bad("'prompt_logprobs': -1", "prompt_logprobs", "must be between 0 and 20"),
          new Bad("'prompt_logprobs': 21", "prompt_logprobs", "must be between 0 and 20"),
          new Bad(
              "'prompt_logprobs': 1, 'stream': true",
              "prompt_logprobs",
              "prompt_logprobs cannot be streamed"),
          new Bad("'return_token_ids': 1", "return_token_ids", "must be true or false"),
          new Bad(
              "'truncate_prompt_tokens': 0",
              "truncate_prompt_tokens",
              "truncate_prompt_tokens must be -1 or between 1 and 63"),
          new Bad("'truncate_prompt_tokens': -2", "truncate_prompt_tokens", "but is -2"),
          new Bad("'truncate_prompt_tokens': 64", "truncate_prompt_tokens", "but is 64"),
          new Bad(
              "'truncate_prompt_tokens': 5, 'max_tokens': 60",
              "truncate_prompt_tokens",
              "between 1 and 4"),
          new Bad(
              "'prompt': 'a', 'truncate_prompt_tokens': -1, 'max_tokens': 64",
              "prompt",
              "The model's context holds 64 tokens"),
          new Bad(
              "'stream': true, 'stream_options': {'continuous_usage_stats': 1}",
              "stream_options",
              "stream_options.continuous_usage_stats must be true or false"),
          // Prompts.
          new Bad("'prompt': 7", "prompt", "prompt must be a string, an array of strings"),
          new Bad("'prompt': true", "prompt", "prompt must be a string"),
          new Bad("'prompt': {'text': 'x'}", "prompt", "prompt must be a string"),
          new Bad("'prompt': ''", "prompt", "prompt must not be an empty string"),
          new Bad("'prompt': ['a', '']", "prompt", "prompt must not be an empty string"),
          new Bad("'prompt': []", "prompt", "prompt must not be an empty array"),
          new Bad("'prompt': [[]]", "prompt", "prompt must not be an empty array"),
          new Bad("'prompt': [[1], []]", "prompt", "prompt[1] must not be an empty array"),
          new Bad(
              "'prompt': [[[1]]]", "prompt", "must hold integers as token ids, but is an array"),
          new Bad("'prompt': [null]", "prompt", "prompt must be a string"),
          new Bad("'prompt': [1.5]", "prompt", "prompt must be a string"),
          new Bad("'prompt': [1, 1.5]", "prompt", "must hold integers as token ids, but is 1.5"),
          new Bad(
              "'prompt': ['a', 1]",
              "prompt",
              "must hold strings only, once it begins with one, but is 1"),
          new Bad(
              "'prompt': [1, 'a']",
              "prompt",
              "must hold integers as token ids, but is the string 'a'"),
          new Bad(
              "'prompt': [[1], 1]",
              "prompt",
              "must hold arrays only, once it begins with one, but is 1"),
          new Bad(
              "'prompt': [320]",
              "prompt",
              "prompt[0] is token id 320, but the model's token ids run from 0 to 319"),
          new Bad("'prompt': [1, -1]", "prompt", "prompt[1] is token id -1"),
          new Bad("'prompt': [[1], [1, 400]]", "prompt", "prompt[1][1] is token id 400"),
          new Bad("'prompt': [99999999999]", "prompt", "prompt"),
          new Bad("'prompt': 'x\\ud83dx'", "prompt", "half of a surrogate pair"),
          new Bad(
              "'prompt': [" + "'a',".repeat(16) + "'a']",
              "prompt",
              "A request may have 16 sequences, but this one asks for 17"),
          new Bad("'prompt': ['a', 'b'], 'n': 9", "n", "asks for 18: 2 prompts, 9 for each"),
          new Bad(
              "'prompt': [" + "1,".repeat(64) + "1]",
              "prompt",
              "The model's context holds 64 tokens, but the request needs 66"),
          new Bad(
              "'prompt': '" + "é".repeat(40) + "'",
              "prompt",
              "The model's context holds 64 tokens"),
          new Bad(
              "'prompt': [1, 1, 1, 1, 1], 'max_tokens': 60",
              "prompt",
              "needs 65: 5 in the prompt and 60 to generate"));

  /** Fields in addition to a model and a message, for chat. */
  private static final List<Bad> CHAT_FIELDS =
      List.of(
          new Bad("'messages': null", "messages", "messages is missing; give at least one"),
          new Bad("'messages': []", "messages", "messages must not be an empty array"),
          new Bad("'messages': 'Hello'", "messages", "messages must be an array, but is"),
          new Bad("'messages': {}", "messages", "messages must be an array, but is an object"),
          new Bad("'messages': [null]", "messages", "messages[0] must be an object, but is null"),
          new Bad("'messages': ['Hello']", "messages", "messages[0] must be an object"),
          new Bad("'messages': [[]]", "messages", "messages[0] must be an object"),
          new Bad(
              "'messages': [{'content': 'x'}]",
              "messages",
              "messages[0].role is missing; it must be system, user or assistant"),
          new Bad(
              "'messages': [{'role': 'user', 'content': 'x'}, {'role': 'tool', 'content': 'x'}]",
              "messages",
              "messages[1].role must be system, user or assistant, but is 'tool'"),
          new Bad(
              "'messages': [{'role': 7, 'content': 'x'}]",
              "messages",
              "messages[0].role must be a string, but is 7"),
          new Bad(
              "'messages': [{'role': 'user'}]",
              "messages",
              "messages[0].content is missing; give a string or an array of text parts"),
          new Bad(
              "'messages': [{'role': 'user', 'content': null}]",
              "messages",
              "messages[0].content is missing"),
          new Bad(
              "'messages': [{'role': 'user', 'content': 7}]",
              "messages",
              "messages[0].content[0] must be a string or a text part, but is 7"),
          new Bad(
              "'messages': [{'role': 'user', 'content': [null]}]",
              "messages",
              "messages[0].content[0] must be a text part, but is null"),
          new Bad(
              "'messages': [{'role': 'user', 'content': [{'text': 'x'}]}]",
              "messages",
              "messages[0].content[0].type is missing; it must be 'text'"),
          new Bad(
              "'messages': [{'role': 'user', 'content': [{'type': 'text'}]}]",
              "messages",
              "messages[0].content[0].text is missing"),
          new Bad(
              "'messages': [{'role': 'user', 'content': [{'type': 'text', 'text': 'x'},"
                  + " {'type': 'image_url', 'image_url': {'url': 'http://127.0.0.1/x'}}]}]",
              "messages",
              "messages[0].content[1].type must be 'text', but is 'image_url'"),
          new Bad(
              "'messages': [{'role': 'user', 'content': [{'type': 'text', 'text': 7}]}]",
              "messages",
              "messages[0].content[0].text must be a string, but is 7"),
          new Bad(
              "'messages': [{'role': 'user', 'content': 'x\\ud83dx'}]",
              "messages",
              "messages[0].content holds half of a surrogate pair"),
          new Bad(
              "'messages': [{'role': 'assistant', 'content': 'x', 'tool_calls': [{'id': 'c'}]}]",
              "messages",
              "messages[0].tool_calls is not supported by this server"),
          new Bad(
              "'messages': [{'role': 'assistant', 'content': 'x'}]",
              "messages",
              "The assistant cannot begin"),
          new Bad(
              "'messages': [{'role': 'user', 'content': '" + "x".repeat(1001) + "'}]",
              "messages",
              "chat template failed: "),
          new Bad(
              "'messages': [{'role': 'user', 'content': '" + "é".repeat(40) + "'}]",
              "messages",
              "The model's context holds 64 tokens"),
          new Bad("'logprobs': 1", "logprobs", "logprobs must be true or false, but is 1"),
          new Bad("'logprobs': true, 'top_logprobs': 21", "top_logprobs", "between 0 and 20"),
          new Bad("'top_logprobs': 1", "top_logprobs", "only with logprobs: true"),
          new Bad("'max_tokens': 65", "max_tokens", "max_tokens must be between 0 and 64"),
          new Bad(
              "'max_completion_tokens': 65, 'max_tokens': 1",
              "max_completion_tokens",
              "max_completion_tokens must be between 0 and 64"),
          new Bad(
              "'n': 16, 'max_completion_tokens': 26",
              "max_completion_tokens",
              "A request may generate 400 tokens, but this one asks for 416"),
          new Bad("'n': 17", "n", "A request may have 16 sequences"),
          new Bad("'temperature': 3", "temperature", "temperature must be between 0 and 2"),
          new Bad(
              "'stream_options': {'include_usage': true}",
              "stream_options",
              "allowed only with stream: true"),
          new Bad(
              "'tools': [{'type': 'function', 'function': {'name': 'f'}}]",
              "tools",
              "tools is not supported by this server; leave it out or give []"),
          new Bad("'tool_choice': 'auto'", "tool_choice", "leave it out or give \"none\""),
          new Bad("'functions': [{'name': 'f'}]", "functions", "functions is not supported"),
          new Bad("'function_call': {'name': 'f'}", "function_call", "is not supported"),
          new Bad(
              "'response_format': {'type': 'json_schema', 'json_schema': {}}",
              "response_format",
              "response_format.json_schema.schema must be a JSON schema, an object"),
          new Bad(
              "'response_format': {'type': 'json_schema', 'json_schema': {'name': 'n', 'schema':"
                  + " {'properties': {'age': {'type': 'integer', 'minimum': 0}}}}}",
              "response_format",
              "response_format: the schema at properties.age has the keyword 'minimum', which is"
                  + " not supported"),
          new Bad("'modalities': ['text', 'audio']", "modalities", "modalities is not supported"),
          new Bad("'audio': {'voice': 'ash'}", "audio", "audio is not supported"),
          new Bad("'web_search_options': {}", "web_search_options", "is not supported"),
          new Bad("'chat_template': '{{ 7*7 }}'", "chat_template", "is not supported"),
          new Bad("'continue_final_message': true", "continue_final_message", "is not supported"),
          new Bad("'model': null", "model", "model is missing; give 'stub'"));

  /** Bodies that are no such object at all. */
  private static final List<Bad> BODIES =
      List.of(
          new Bad("", "", "must be one JSON object"),
          new Bad(" ", "", "must be one JSON object"),
          new Bad("{", "", "not valid JSON at line 1"),
          new Bad("null", "", "must be one JSON object"),
          new Bad("[]", "", "must be one JSON object"),
          new Bad("'text'", "", "must be one JSON object"),
          new Bad("7", "", "must be one JSON object"),
          new Bad("{'model': 'stub', 'prompt': 'a',}", "", "not valid JSON at line 1, column"),
          new Bad("{'model': 'stub', 'prompt': 'a'} x", "", "not valid JSON"),
          new Bad("{'model': 'stub', 'prompt': 'a'} {}", "", "must be one JSON object"),
          new Bad("{'model': 'stub', 'prompt': 'a', 'temperature': NaN}", "", "not valid JSON"),
          new Bad(
              "{'model': 'stub', 'prompt': 'a', 'temperature': Infinity}", "", "not valid JSON"),
          new Bad(
              "{'model': 'stub', 'prompt': 'a', 'temperature': -Infinity}", "", "not valid JSON"),
          new Bad("{'model': 'stub', 'prompt': 'a', 'n': 1, 'n': 2}", "", "not valid JSON"),
          new Bad("{'model': 'stub', 'prompt': 'a', 'n': 0x10}", "", "not valid JSON"),
          new Bad(
              "{'model': 'stub', 'prompt': 'a', 'n': " + "1".repeat(101) + "}",
              "",
              "beyond a limit"),
          new Bad(
              "{'model': 'stub', 'x': " + "[".repeat(100) + "]".repeat(100) + "}",
              "",
              "beyond a limit"),
          new Bad("{'model': 'stub', '" + "k".repeat(1001) + "': 1}", "", "beyond a limit"),
          new Bad("{'prompt': 'a'}", "model", "model is missing; give 'stub'"),
          new Bad("{'model': null, 'prompt': 'a'}", "model", "model is missing"));

  @TestFactory
  Stream<DynamicTest> fields() {
    String prompt = "'prompt': 'Once'";
    return FIELDS.stream().map(bad -> refused("/v1/completions", with(prompt, bad), bad));
  }

  @TestFactory
  Stream<DynamicTest> chatFields() {
    String messages = "'messages': [{'role': 'user', 'content': 'Once'}]";
    return CHAT_FIELDS.stream()
        .map(bad -> refused("/v1/chat/completions", with(messages, bad), bad));
  }

  @TestFactory
  Stream<DynamicTest> bodies() {
    return Stream.of("/v1/completions", "/v1/chat/completions")
        .flatMap(path -> BODIES.stream().map(bad -> refused(path, bad.fields(), bad)));
  }

  private DynamicTest refused(String path, String body, Bad bad) {
    String name = bad.fields().length() > 80 ? bad.fields().substring(0, 80) : bad.fields();
    return dynamicTest(
        name.isBlank() ? "blank" : name,
        () -> {
          HttpResponse<String> response = send(post(path, body.replace('\'', '"')));
          assertThat(response.statusCode()).as(response.body()).isEqualTo(400);
          assertThat(response.headers().firstValue("Content-Type")).hasValue("application/json");
          JsonNode error = error(response);
          assertThat(error.get("message").asString()).contains(bad.message());
          assertThat(error.get("param").asString("")).isEqualTo(bad.param());
          assertThat(error.get("type").asString()).isEqualTo("invalid_request_error");
          assertThat(engine.requests).isEmpty();
        });
  }

  /** A body that is good but for the fields given. */
  private static String with(String input, Bad bad) {
    String name = input.substring(0, input.indexOf(':'));
    return "{"
        + (bad.fields().contains("'model'") ? "" : "'model': 'stub', ")
        + (bad.fields().contains(name) ? "" : input + ", ")
        + bad.fields()
        + "}";
  }
}
