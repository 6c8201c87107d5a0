package dev.gregale.web;

import java.util.List;
import java.util.stream.Stream;
import org.junit.jupiter.api.DynamicTest;
import org.junit.jupiter.api.TestFactory;

/** What the chat API refuses. */
class BadChatTest extends RefusalTest {

  private static final List<Bad> FIELDS =
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

  @TestFactory
  Stream<DynamicTest> fields() {
    return chatsRefused(FIELDS);
  }
}
