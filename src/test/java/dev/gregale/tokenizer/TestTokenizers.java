package dev.gregale.tokenizer;

import java.io.IOException;
import java.io.InputStream;
import java.nio.file.Path;
import java.util.Objects;
import java.util.stream.IntStream;
import tools.jackson.databind.JsonNode;
import tools.jackson.databind.json.JsonMapper;

/** What the tests of this package share. */
final class TestTokenizers {

  static final Path DEMO_MODEL = Path.of("src/main/resources/models/fairytale-moe-7m");

  private TestTokenizers() {}

  static DjlTokenizer demo() {
    return DjlTokenizer.open(DEMO_MODEL, 10_000_000).orElseThrow();
  }

  static JsonNode resource(String name) throws IOException {
    try (InputStream in = TestTokenizers.class.getResourceAsStream(name)) {
      return new JsonMapper().readTree(Objects.requireNonNull(in, name));
    }
  }

  static int[] ints(JsonNode array) {
    return IntStream.range(0, array.size()).map(i -> array.get(i).intValue()).toArray();
  }
}
