package dev.gregale.web;

import java.util.List;
import java.util.stream.Stream;
import org.junit.jupiter.api.DynamicTest;
import org.junit.jupiter.api.TestFactory;

/** Bodies that are not one JSON object, or none with a model. */
class BadBodyTest extends RefusalTest {

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
  Stream<DynamicTest> bodies() {
    return Stream.of("/v1/completions", "/v1/chat/completions")
        .flatMap(path -> BODIES.stream().map(bad -> refused(path, bad.fields(), bad)));
  }
}
