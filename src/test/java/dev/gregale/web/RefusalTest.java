package dev.gregale.web;

import static org.assertj.core.api.Assertions.assertThat;
import static org.junit.jupiter.api.DynamicTest.dynamicTest;

import java.net.http.HttpResponse;
import java.util.List;
import java.util.stream.Stream;
import org.junit.jupiter.api.DynamicTest;
import tools.jackson.databind.JsonNode;

/** What the API refuses, and what it says about it: bodies that are good but for a few fields. */
abstract class RefusalTest extends WebTest {

  /**
   * @param fields in addition to a model and a prompt or messages, with ' for "; a field given
   *     again replaces those
   */
  record Bad(String fields, String param, String message) {}

  Stream<DynamicTest> completionsRefused(List<Bad> all) {
    return all.stream().map(bad -> refused("/v1/completions", with("'prompt': 'Once'", bad), bad));
  }

  Stream<DynamicTest> chatsRefused(List<Bad> all) {
    String messages = "'messages': [{'role': 'user', 'content': 'Once'}]";
    return all.stream().map(bad -> refused("/v1/chat/completions", with(messages, bad), bad));
  }

  DynamicTest refused(String path, String body, Bad bad) {
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
