package dev.gregale.web;

import java.util.List;
import java.util.stream.Stream;
import org.junit.jupiter.api.DynamicTest;
import org.junit.jupiter.api.TestFactory;

/** What the server does not support, or not together, and bad prompts. */
class BadCompletionTest extends RefusalTest {

  /** Not supported, or only together. */
  private static final List<Bad> TOGETHER =
      List.of(
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
              "stream_options.continuous_usage_stats must be true or false"));

  private static final List<Bad> PROMPTS =
      List.of(
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

  @TestFactory
  Stream<DynamicTest> together() {
    return completionsRefused(TOGETHER);
  }

  @TestFactory
  Stream<DynamicTest> prompts() {
    return completionsRefused(PROMPTS);
  }
}
