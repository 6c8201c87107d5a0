package dev.gregale.web;

import java.util.List;
import java.util.stream.Stream;
import org.junit.jupiter.api.DynamicTest;
import org.junit.jupiter.api.TestFactory;

/** Fields of the wrong type: nothing is taken for something else; and values out of range. */
class BadFieldTest extends RefusalTest {

  private static final List<Bad> TYPES =
      List.of(
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
              "'stop_token_ids': ['5']", "stop_token_ids", "stop_token_ids[0] must be an integer"));

  private static final List<Bad> RANGES =
      List.of(
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
              "may have 128 entries, but has 129"));

  @TestFactory
  Stream<DynamicTest> wrongTypes() {
    return completionsRefused(TYPES);
  }

  @TestFactory
  Stream<DynamicTest> outOfRange() {
    return completionsRefused(RANGES);
  }
}
